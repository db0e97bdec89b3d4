"""The fewest parameters within an error for types that have to be fitted, where no singular values show the size.

    impossible | too small, by fits | ... | small enough
               ^ cuts (`cuts.py`)         ^ closed forms (`starts.py`), where there are any

Sizes below what the cuts allow need no fit. An exact fit is looked for between them and the closed form: at the least
size first, then where a generic weight would be exact, as many free parameters as it has entries, then above that, and
at last by halving between the largest size that failed and the least that did not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tnlayers.declare.spec import Spec
from tnlayers.decompose.cuts import Cuts
from tnlayers.decompose.sizes import Scale
from tnlayers.decompose.starts import free_parameters
from tnlayers.decompose.target import Fitted, Target

Found: TypeAlias = tuple[Spec, Fitted]
Tried: TypeAlias = Callable[[int], "Found | None"]

_GROWTH = 8  # part of a size by which the next one is larger, above that of a generic weight


def first_possible(target: Target, scale: Scale, values: Sequence[int], allowed: float) -> int:
    """The place of the first value that no cut of the network rules out for an error of the weight; the last if none.

    Args:
        target: The weight.
        scale: The network type.
        values: Of the type's size keyword.
        allowed: The relative error.
    """
    cuts = Cuts(target.ops, allowed**2 * target.square * (1 + 1e-9))

    def possible(value: int) -> bool:
        spec = scale.at(value)
        return cuts.allow(spec.graph, target.padded(spec))

    return min(bisect_left(values, True, key=possible), len(values) - 1)


def generic(scale: Scale, values: Sequence[int]) -> int:
    """The place of the first value with as many free parameters as the weight has entries; the last if none."""
    spec = scale.at(values[0])
    entries = spec.dense_parameters
    return min(bisect_left(values, entries, key=lambda value: free_parameters(scale.at(value).graph)), len(values) - 1)


def least_exact(values: Sequence[int], expected: int, known: Found | None, tried: Tried) -> Found | None:
    """The first of the values found at which a fit is exact.

    Args:
        values: Those to try.
        expected: The place among them at which a generic weight is exact.
        known: An exact one, at the place behind them all; None where there is none.
        tried: A fit at a value; None where it is not exact.

    Returns:
        What was found; `known` if nothing smaller was.
    """
    low, high, best = -1, len(values), known
    place = 0
    while place < high:
        found = tried(values[place])
        if found is not None:
            high, best = place, found
            break
        low = place
        place = expected if place < expected else place + max(1, place // _GROWTH)
    if best is None and low < len(values) - 1:  # the last of all may be the first that is exact
        best = tried(values[-1])
        high = len(values) - 1
    if best is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        found = tried(values[middle])
        low, high, best = (middle, high, best) if found is None else (low, middle, found)
    return best
