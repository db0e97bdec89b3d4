"""`monarch`: two block-diagonal matrices with a transposition between them.

        block_in (k) -----+-----------+
                          |           |            first: for every block k, from i to m
        i -------------[first]     [second]--- o   second: for every block m, from k to o
                          |           |
                          +-----------+---- block_out (m)

W[(o, m), (k, i)] = second[m, k, o] first[k, i, m] (Dao et al., "Monarch", arXiv 2204.00595: M = P L P' R; the
two-core, rank-1 case of `btt`). Parameters: k i m + m k o. Input modes are (k, i), output modes (o, m); the paper's
square case is k = i = m = o, and `blocks=b` asks for k = m = b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.modes import Modes, factorise
from tnlayers.declare.registry import network
from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


def split(in_features: int, out_features: int, blocks: int | None = None) -> tuple[Modes, Modes]:
    """Sizes as (blocks, rest) and (rest, blocks), rounded up; as square as they go where `blocks` is not given.

    Raises:
        TNLayersError: If there are more blocks than features.
    """
    if blocks is None:
        return factorise(in_features, order=2), factorise(out_features, order=2)
    if blocks > min(in_features, out_features):
        raise TNLayersError(
            f"blocks={blocks} for {in_features} inputs and {out_features} outputs: monarch needs at least one of both "
            f"in every block. Ask for at most {min(in_features, out_features)} blocks."
        )
    sides = []
    for size in (in_features, out_features):
        rest = -(-size // blocks)
        padding = blocks * rest - size
        sides.append((rest, f"{size} in {blocks} blocks: padded by {padding} to {blocks * rest}" if padding else ""))
    (i, note_in), (o, note_out) = sides
    return Modes((blocks, i), in_features, note_in), Modes((o, blocks), out_features, note_out)


@network("monarch", split=split)
def monarch(in_modes: tuple[int, ...], out_modes: tuple[int, ...], blocks: int | None = None) -> Graph:
    """Monarch: two block-diagonal matrices with a transposition between (arXiv 2204.00595).

    Args:
        in_modes: Two modes: the blocks of the first matrix, and the inputs of each.
        out_modes: Two modes: the outputs of each block of the second matrix, and how many blocks it has.
        blocks: The number of blocks of both matrices; by default what the modes say, near the square root of the sizes.

    Returns:
        The graph with cores `first` of axes (block_in, inp, block_out) and `second` of axes (block_out, block_in, out).

    Raises:
        TNLayersError: If there are not two modes on each side, or `blocks` is another number than the modes say.
    """
    if (len(in_modes), len(out_modes)) != (2, 2):
        raise TNLayersError(
            f"in_modes {in_modes} and out_modes {out_modes}: monarch takes two of each, (blocks, rest) and (rest, "
            "blocks), as in monarch(in=4x7, out=5x4)."
        )
    (k, i), (o, m) = in_modes, out_modes
    if blocks is not None and (k, m) != (blocks, blocks):
        raise TNLayersError(
            f"blocks={blocks}, but in_modes {in_modes} begin with {k} and out_modes {out_modes} end with {m}. Leave "
            f"blocks out, or write in={blocks}x{i} and out={o}x{blocks}."
        )
    net = Declaration()
    if k == m == 1 and 1 in (i, o):  # one block of a vector: the other matrix would be a number
        core = net.core("first", block_in=k, inp=i, out=o, block_out=m)
        return net.linear(inputs=[core["block_in"], core["inp"]], outputs=[core["out"], core["block_out"]])
    first = net.core("first", block_in=k, inp=i, block_out=m)
    second = net.core("second", block_out=m, block_in=k, out=o)
    block_in, block_out = (net.copy(size, ["mode", "first", "second"]) for size in (k, m))
    for name, edge in (("block_in", block_in), ("block_out", block_out)):
        edge["first"] ^ first[name]
        edge["second"] ^ second[name]
    return net.linear(inputs=[block_in["mode"], first["inp"]], outputs=[second["out"], block_out["mode"]])
