"""Successive truncated SVDs: the cores of a loop-free network from a dense tensor, one bond after the other.

    W (j_1 j_2 j_3, i_1 i_2 i_3)  ->  core_0 -- rest (j_2 j_3 i_2 i_3)  ->  core_0 -- core_1 -- core_2

Each step views what is left as a matrix with the modes (and bonds already cut) of one core as its rows, and keeps the
largest singular values that the bond has room for. On a chain this is TT-SVD (Oseledets 2011, doi 10.1137/090752286,
Alg. 1), on a star the sequentially truncated HOSVD (Vannieuwenhoven et al. 2012, doi 10.1137/110836067), on a binary
tree hierarchical Tucker (Grasedyck 2010, doi 10.1137/090764189). The steps project orthogonally, so

    ||W - W'||^2  =  the sum of all discarded singular values squared  <=  sum over bonds of W's own discarded weight
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tnlayers.cores.canonical import Move, moves_to
from tnlayers.declare.graph import Graph
from tnlayers.decompose.singular_vectors import Splitting, leading
from tnlayers.program.program import Array, Primitives


def split_tree(ops: Splitting, graph: Graph, weight: Array) -> tuple[list[Array], float]:
    """The cores of a loop-free network that come closest to a weight by one truncated SVD per bond.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: A network without loops, hyperedges and traces; its sizes say how many singular values each bond keeps.
        weight: The weight of shape (product of out modes, product of in modes).

    Returns:
        The cores in order of declaration, and the discarded weight: the sum of the squared singular values left out,
        which is ||W - W'||^2.

    Raises:
        TNLayersError: If the network has a loop, a hyperedge or a trace.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> graph = tnl.spec("mpo(in=2x3, out=3x2, bond=6)").graph
        >>> cores, discarded = split_tree(backend("numpy").ops, graph, np.eye(6))
        >>> [core.shape for core in cores], round(discarded, 12)
        ([(2, 3, 6), (6, 3, 2)], 0.0)
    """
    axes = [*graph.outputs, *graph.inputs]
    rest = ops.reshape(weight, (*graph.out_modes, *graph.in_modes))
    centre = len(graph.cores) // 2
    cores: list[Array] = [None] * len(graph.cores)
    discarded = 0.0
    for move in moves_to(graph, centre):
        own = [i for i in graph.cores[move.source].indices if i not in move.bond]
        others = [i for i in axes if i not in own]
        room = prod(graph.sizes[i] for i in move.bond)
        u, tail, left_out = leading(ops, _matrix(ops, graph, rest, axes, own), room)
        discarded += left_out
        u = ops.pad(u, room - u.shape[1])  # a bond wider than the matrix has columns of zeros
        tail = _longer(ops, tail, room - tail.shape[0])
        cores[move.source] = _arranged(ops, graph, u, [*own, *move.bond], graph.cores[move.source].indices)
        axes = [*move.bond, *others]
        rest = ops.reshape(tail, tuple(graph.sizes[i] for i in axes))
    cores[centre] = _arranged(ops, graph, rest, axes, graph.cores[centre].indices)
    return cores, discarded


def spectra(ops: Splitting, graph: Graph, weight: Array) -> dict[tuple[int, ...], Array]:
    """The singular values of a weight at every bond of a loop-free network: how large each bond would have to be.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: A network without loops, hyperedges and traces.
        weight: The weight of shape (product of out modes, product of in modes).

    Returns:
        By bond (the indices that join two cores), the singular values, descending.

    Raises:
        TNLayersError: If the network has a loop, a hyperedge or a trace.
    """
    axes = [*graph.outputs, *graph.inputs]
    tensor = ops.reshape(weight, (*graph.out_modes, *graph.in_modes))
    moves = moves_to(graph, centre=len(graph.cores) // 2)
    return {
        move.bond: ops.singular_values(_matrix(ops, graph, tensor, axes, behind(graph, moves, move))) for move in moves
    }


def _longer(ops: Primitives, matrix: Array, count: int) -> Array:
    """A matrix with rows of zeros below."""
    return ops.permute(ops.pad(ops.permute(matrix, (1, 0)), count), (1, 0))


def behind(graph: Graph, moves: Sequence[Move], move: Move) -> list[int]:
    """The modes of all cores on the far side of a bond."""
    cores = {move.source}
    for earlier in reversed(moves[: moves.index(move)]):
        if earlier.target in cores:
            cores.add(earlier.source)
    modes = {*graph.inputs, *graph.outputs}
    return [i for k in sorted(cores) for i in graph.cores[k].indices if i in modes]


def _matrix(ops: Primitives, graph: Graph, tensor: Array, axes: Sequence[int], rows: Sequence[int]) -> Array:
    """A tensor as a matrix with some of its axes as rows and the others, in order, as columns."""
    order = (*(axes.index(i) for i in rows), *(k for k, i in enumerate(axes) if i not in rows))
    size = prod(graph.sizes[i] for i in rows)
    return ops.reshape(ops.permute(tensor, order), (size, prod(graph.sizes[i] for i in axes) // size))


def _arranged(ops: Primitives, graph: Graph, array: Array, axes: Sequence[int], wanted: Sequence[int]) -> Array:
    """An array of these axes, perhaps merged, with one axis per index in the wanted order."""
    return ops.permute(ops.reshape(array, tuple(graph.sizes[i] for i in axes)), tuple(axes.index(i) for i in wanted))
