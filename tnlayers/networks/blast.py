r"""`blast`: a grid of blocks of low rank, whose factors all blocks of a row, and of a column, share.

        block_out ---+----------+          block_in
                     |          |             |
        out ------ [up] -- R -- [scale] ------+
                           |                  |
                           +------ [down] ----+---- in     R, the rank, is one index of all three cores

W[(a, o), (b, i)] = sum over r of up[a, o, r] scale[a, b, r] down[b, i, r]; block by block W_ab = U_a diag(s_ab) V_b'
(Lee et al., "BLAST: Block-Level Adaptive Structured Matrices", arXiv 2410.21262). With scales of 1 it is `lowrank`, and
with scales of one block each it is `blockdiag`. Parameters: R (in + out + blocks of rows times blocks of columns).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.modes import Modes
from tnlayers.declare.registry import network
from tnlayers.errors import TNLayersError
from tnlayers.networks.legs import linear, named_modes

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

_DEFAULT = 4  # blocks of a side, as near as its divisors come, where their number is not given


def split(in_features: int, out_features: int, blocks: int | None = None, **_: Any) -> tuple[Modes, Modes]:
    """Sizes as (blocks, rest) on both sides, rounded up; the divisors nearest to 4 where `blocks` is not given.

    Raises:
        TNLayersError: If there are more blocks than features.
    """
    if blocks is not None and blocks > min(in_features, out_features):
        raise TNLayersError(
            f"blocks={blocks} for {in_features} inputs and {out_features} outputs: blast needs at least one of both in "
            f"every block. Ask for at most {min(in_features, out_features)} blocks."
        )
    sides = []
    for size in (in_features, out_features):
        count = blocks or min((d for d in range(1, size + 1) if size % d == 0), key=lambda d: abs(log(d / _DEFAULT)))
        rest = -(-size // count)
        padding = count * rest - size
        note = f"{size} in {count} blocks: padded by {padding} to {count * rest}" if padding else ""
        sides.append(Modes((count, rest), size, note))
    return sides[0], sides[1]


@network("blast", split=split)
def blast(in_modes: tuple[int, ...], out_modes: tuple[int, ...], rank: int = 16, blocks: int | None = None) -> Graph:
    """BLAST: blocks of low rank that share factors along rows and columns (arXiv 2410.21262).

    Args:
        in_modes: Two modes: the blocks of columns, and the inputs of each.
        out_modes: Two modes: the blocks of rows, and the outputs of each.
        rank: The rank of every block.
        blocks: The number of blocks on both sides; by default what the modes say.

    Returns:
        The graph with cores `down` of axes (block_in, inp, rank), `scale` of axes (block_out, block_in, rank) and `up`
        of axes (block_out, out, rank). A single block needs no `scale`, and a vector is one core.

    Raises:
        TNLayersError: If there are not two modes on each side, or `blocks` is another number than the modes say.
    """
    if (len(in_modes), len(out_modes)) != (2, 2):
        raise TNLayersError(
            f"in_modes {in_modes} and out_modes {out_modes}: blast takes two of each, (blocks, size of each), as in "
            "blast(in=4x7, out=5x4)."
        )
    (b, i), (a, o) = in_modes, out_modes
    if blocks is not None and (a, b) != (blocks, blocks):
        raise TNLayersError(
            f"blocks={blocks}, but in_modes {in_modes} begin with {b} and out_modes {out_modes} with {a}. Leave blocks "
            f"out, or write in={blocks}x{i} and out={blocks}x{o}."
        )
    net, modes = Declaration(), named_modes(in_modes, out_modes)
    if 1 in (b * i, a * o):  # a vector: other factors would be numbers
        return linear(net, {"down": net.core("down", **modes)}, modes)
    down = net.core("down", block_in=b, inp=i, rank=rank)
    if a == b == 1:
        up = net.core("up", block_out=a, out=o, rank=rank)
        down["rank"] ^ up["rank"]
        return net.linear(inputs=[down["block_in"], down["inp"]], outputs=[up["block_out"], up["out"]])
    scale = net.core("scale", block_out=a, block_in=b, rank=rank)
    up = net.core("up", block_out=a, out=o, rank=rank)
    ranks = net.copy(rank, ["down", "scale", "up"], name="rank")
    for core, leg in ((down, "down"), (scale, "scale"), (up, "up")):
        core["rank"] ^ ranks[leg]
    sides = []
    for name, size, end in (("block_in", b, down), ("block_out", a, up)):
        edge = net.copy(size, ["mode", "end", "scale"], name=name)
        end[name] ^ edge["end"]
        scale[name] ^ edge["scale"]
        sides.append(edge["mode"])
    return net.linear(inputs=[sides[0], down["inp"]], outputs=[sides[1], up["out"]])
