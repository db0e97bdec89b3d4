"""`blockdiag`: a block-diagonal matrix, the dense layer of each group of features.

        block ----+---- block          one index, input and output at once: a copy node with both open legs
                  |
        inp --- [core] --- out

W[(b', o), (b, i)] = core[b, i, o] where b = b', else 0. Parameters: in times out over the number of blocks. Every
weight with these zeros is reached (grouped layers: Krizhevsky et al. 2012; as structured matrices: arXiv 2406.06248).
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.modes import Modes
from tnlayers.declare.registry import network
from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

_DEFAULT = 4  # as many blocks as sizes allow, up to this, where their number is not given


def split(in_features: int, out_features: int, blocks: int | None = None) -> tuple[Modes, Modes]:
    """Sizes as (blocks, rest) on both sides; by default the largest common divisor that is at most 4.

    Raises:
        TNLayersError: If `blocks` does not divide both sizes; the message lists the numbers that do.
    """
    common = gcd(in_features, out_features)
    divisors = [d for d in range(1, common + 1) if common % d == 0]
    if blocks is not None and blocks not in divisors:
        raise TNLayersError(
            f"blocks={blocks} does not divide both {in_features} inputs and {out_features} outputs; blocks of a "
            f"blockdiag are alike. These numbers do: {', '.join(map(str, divisors))}."
        )
    b = blocks or max(d for d in divisors if d <= _DEFAULT)
    note = f"no common divisor of {in_features} and {out_features} is 2 to {_DEFAULT}: one block" if b == 1 else ""
    return Modes((b, in_features // b), in_features, note), Modes((b, out_features // b), out_features)


@network("blockdiag", split=split)
def blockdiag(in_modes: tuple[int, ...], out_modes: tuple[int, ...], blocks: int | None = None) -> Graph:
    """Block-diagonal: one dense block per group of features, zeros elsewhere.

    Args:
        in_modes: The number of blocks, then the input modes of each block, if any.
        out_modes: The number of blocks, then the output modes of each block, if any.
        blocks: The number of blocks; by default what the modes say.

    Returns:
        The graph with one core `core` of axes (block, in_1, ..., out_1, ...).

    Raises:
        TNLayersError: If the first modes differ, or `blocks` is another number.
    """
    b = in_modes[0]
    if out_modes[0] != b or blocks not in (None, b):
        asked = "" if blocks is None else f"blocks={blocks}, "
        raise TNLayersError(
            f"{asked}in_modes {in_modes} begin with {b} and out_modes {out_modes} with {out_modes[0]}: the first mode "
            f"of both sides is the number of blocks. Write both with {blocks or b} first, as in "
            f"blockdiag(in={blocks or b}x7, out={blocks or b}x5)."
        )
    ins = {f"in_{k}": size for k, size in enumerate(in_modes[1:], 1)}
    outs = {f"out_{k}": size for k, size in enumerate(out_modes[1:], 1)}
    net = Declaration()
    core = net.core("core", block=b, **ins, **outs)
    edge = net.copy(b, ["inp", "out", "core"], name="block")
    edge["core"] ^ core["block"]
    return net.linear(
        inputs=[edge["inp"], *(core[leg] for leg in ins)],
        outputs=[edge["out"], *(core[leg] for leg in outs)],
    )
