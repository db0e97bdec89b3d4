"""Other network types at the parameter count of an mpo: the number in their keyword that comes closest."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import lru_cache

from tnlayers.bench.own_network import declare
from tnlayers.declare.spec import spec
from tnlayers.errors import TNLayersError, TNLayersWarning

# Network type -> what its size is called. The first three are those that the benchmark makes claims about.
TYPES = {
    "ring": "bond",
    "tree": "bond",
    "chord": "bond",
    "tucker": "bond",
    "mera": "bond",
    "peps": "bond",
    "cp": "rank",
    "lowrank": "rank",
    "btt": "rank",
    "blast": "rank",
    "kronecker": "terms",
    "block_term": "terms",
    "monarch": "blocks",
    "blockdiag": "blocks",
}
_MOST = 4096


@lru_cache(maxsize=256)
def template(network: str, in_features: int, out_features: int, parameters: int) -> str:
    """The template of a type, such as `ring(bond=11)`, whose layer has about so many parameters.

    Args:
        network: One of `TYPES`.
        in_features: Size of an input vector.
        out_features: Size of an output vector.
        parameters: The count to come close to; what came out is `spec(...).parameters`.

    Example:
        >>> template("lowrank", 1024, 1024, 34_000)
        'lowrank(rank=17)'
    """
    if network == "chord":
        declare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # of bonds above their maximum: the search tries some
        sizes = dict(_sizes(network, in_features, out_features, parameters))
    return f"{network}({TYPES[network]}={min(sizes, key=lambda n: abs(sizes[n] - parameters))})"


def _sizes(network: str, in_features: int, out_features: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Numbers with the parameters they give: a bisection, or all divisors where more blocks mean fewer parameters."""

    def count(number: int) -> int:
        return spec(f"{network}({TYPES[network]}={number})", in_features, out_features).parameters

    if TYPES[network] == "blocks":
        for number in range(2, min(in_features, out_features) + 1):
            if in_features % number == 0 and out_features % number == 0:
                yield number, count(number)
        return
    low, high = 1, _MOST
    while low <= high:
        middle = (low + high) // 2
        try:
            found = count(middle)
        except TNLayersError:  # a type that refuses what it cannot have, in place of clipping it
            high = middle - 1
            continue
        yield middle, found
        low, high = (middle + 1, high) if found < wanted else (low, middle - 1)
