"""Trees whose cores share modes, by SVDs: for every value of the modes that both sides of a bond have, one SVD.

    W[t, rows, columns]  =  sum over bonds of  A[t, rows, bonds] B[t, bonds, columns]

On two cores this is the closest network there is, block by block, whatever joins them: so `monarch` and `btt` of two
cores need no fit (Dao et al. 2022, arXiv 2204.00595, Theorem 1). On more, as `btt` has them (Qiu et al. 2024, arXiv
2406.06248), one core after the other is split off as in TT-SVD, which is exact where the bonds are wide enough.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tnlayers.cores.canonical import Move, moves_to
from tnlayers.declare.graph import Graph
from tnlayers.decompose.roles import size
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array


def is_tied_tree(graph: Graph) -> bool:
    """Whether every bond cuts the network in two once the modes that several cores have are fixed, and there are such.

    Example:
        >>> import tnlayers as tnl
        >>> [is_tied_tree(tnl.spec(f"{name}(in=2x2x2, out=2x2x2)").graph) for name in ("btt", "mpo", "ring", "cp")]
        [True, False, False, False]
    """
    return bool(_tied(graph)) and _moves(graph) is not None


def split_tied(ops: Splitting, graph: Graph, weight: Array) -> list[Array]:
    """The cores of a network for which `is_tied_tree`, by one stack of truncated SVDs per bond.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network.
        weight: The weight of shape (product of out modes, product of in modes).

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> graph = tnl.spec("btt(in=2x2, out=2x2, rank=2)").graph
        >>> [core.shape for core in split_tied(backend("numpy").ops, graph, np.eye(4))]
        [(2, 2, 2, 2), (2, 2, 2, 2)]
    """
    axes = [*graph.outputs, *graph.inputs]
    rest = ops.reshape(weight, tuple(graph.sizes[i] for i in axes))
    left = dict(enumerate(graph.cores))
    cores: list[Array] = [None] * len(graph.cores)
    for move in _moves(graph) or ():
        own = left.pop(move.source).indices
        later = {i for core in left.values() for i in core.indices}
        tied = [i for i in axes if i in own and i in later]
        rows = [i for i in axes if i in own and i not in later]
        columns = [i for i in axes if i not in own]
        blocks = _arranged(ops, graph, rest, axes, (tied, rows, columns))
        u, s, vh = ops.svd(blocks)
        room = size(graph, move.bond)
        kept = min(room, s.shape[1])
        below = ops.permute(vh[:, :kept], (0, 2, 1)) * ops.reshape(s[:, :kept], (s.shape[0], 1, kept))
        cores[move.source] = _core(ops, graph, ops.pad(u[:, :, :kept], room - kept), [*tied, *rows, *move.bond], own)
        axes = [*tied, *columns, *move.bond]
        rest = ops.reshape(ops.pad(below, room - kept), tuple(graph.sizes[i] for i in axes))
    ((centre, core),) = left.items()
    cores[centre] = _core(ops, graph, rest, axes, core.indices)
    return cores


def _tied(graph: Graph) -> set[int]:
    """The modes that several cores have."""
    count = Counter(i for core in graph.cores for i in {*core.indices})
    return {i for i in (*graph.outputs, *graph.inputs) if count[i] > 1}


def _moves(graph: Graph) -> tuple[Move, ...] | None:
    """The cores to split off, one after the other; None where bonds alone make no tree."""
    modes = (*graph.outputs, *graph.inputs)
    if len(set(modes)) < len(modes) or len(graph.cores) < 2:
        return None
    tied = _tied(graph)
    if len(graph.cores) == 2 and not graph.summed:
        return (Move(0, 1, ()),)  # joined by shared modes alone
    cores = tuple(replace(core, indices=tuple(i for i in core.indices if i not in tied)) for core in graph.cores)
    ends = {name: tuple(i for i in getattr(graph, name) if i not in tied) for name in ("inputs", "outputs")}
    try:
        moves = moves_to(replace(graph, cores=cores, **ends), len(cores) - 1)
    except TNLayersError:
        return None
    return moves if len(moves) == len(cores) - 1 else None


def _arranged(ops: Splitting, graph: Graph, array: Array, axes: list[int], parts: tuple[list[int], ...]) -> Array:
    order = [i for part in parts for i in part]
    return ops.reshape(ops.permute(array, tuple(axes.index(i) for i in order)), tuple(size(graph, p) for p in parts))


def _core(ops: Splitting, graph: Graph, array: Array, axes: list[int], wanted: tuple[int, ...]) -> Array:
    whole = ops.reshape(array, tuple(graph.sizes[i] for i in axes))
    return ops.permute(whole, tuple(axes.index(i) for i in wanted))
