"""Any weight as a network on one hyperedge, in closed form: one term for every fibre of the weight.

`cp` and `kronecker` hold any weight at as many terms as the core with the most values leaves to the others: the other
cores choose a fibre by unit vectors, and this core holds it. Rotated first into the leading singular vectors of every
core's unfolding, a weight of small multilinear rank needs as few terms as a full one of that size (Kolda and Bader
2009, doi 10.1137/07070111X, section 3.1, has the bound).
"""

from __future__ import annotations

from math import prod

import numpy as np

from tnlayers.declare.graph import Graph
from tnlayers.decompose.roles import roles, size
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.program.program import Array


def on_one_edge(graph: Graph) -> bool:
    """Whether all cores meet on one index, and share nothing else."""
    if len(graph.summed) != 1 or graph.shared or len(graph.cores) < 2:
        return False
    (edge,) = graph.summed
    modes = [i for core in graph.cores for i in core.indices if i != edge]
    return len(set(modes)) == len(modes) and all(core.indices.count(edge) == 1 for core in graph.cores)


def from_fibres(ops: Splitting, graph: Graph, weight: Array, negligible: float) -> list[Array] | None:
    """The cores of a network on one hyperedge that hold a weight; None where its edge has too few values.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: A network for which `on_one_edge`.
        weight: The weight of shape (product of out modes, product of in modes).
        negligible: Singular values of an unfolding whose squares sum to no more are dropped.
    """
    (edge,) = graph.summed
    modes, room = (*graph.outputs, *graph.inputs), graph.sizes[edge]
    free = [roles(graph, k).free for k in range(len(graph.cores))]
    order = [i for own in free for i in own]
    tensor = ops.permute(ops.reshape(weight, (*graph.out_modes, *graph.in_modes)), tuple(modes.index(i) for i in order))
    shape = [size(graph, own) for own in free]
    bases = []
    for k in range(len(shape)):  # the core so far, with axis k turned to the front: then its rows, rotated, last
        matrix = ops.reshape(tensor, (shape[k], -1))
        u = _basis(ops, matrix, negligible)
        bases.append(u)
        tensor = ops.permute(ops.matmul(ops.permute(u, (1, 0)).conj(), matrix), (1, 0))
    ranks = [int(u.shape[1]) for u in bases]
    longest = max(range(len(ranks)), key=lambda k: ranks[k])
    others = [k for k in range(len(ranks)) if k != longest]
    terms = prod(ranks[k] for k in others)
    if terms > room:
        return None
    turned = ops.permute(ops.reshape(tensor, tuple(ranks)), (longest, *others))
    places = np.unravel_index(np.arange(terms), [ranks[k] for k in others])
    cores = []
    for k, u in enumerate(bases):
        if k == longest:
            values = ops.reshape(turned, (ranks[k], terms))
        else:
            values = ops.like(np.eye(ranks[k])[:, places[others.index(k)]], weight)
        whole = ops.pad(ops.matmul(u, values), room - terms)
        indices = (*free[k], edge)
        shaped = ops.reshape(whole, tuple(graph.sizes[i] for i in indices))
        cores.append(ops.permute(shaped, tuple(indices.index(i) for i in graph.cores[k].indices)))
    return cores


def _basis(ops: Splitting, matrix: Array, negligible: float) -> Array:
    """The left singular vectors that matter, at least one."""
    u, s, _ = ops.svd(matrix)
    squares = [float(value) ** 2 for value in s]
    kept = len(squares)
    while kept > 1 and sum(squares[kept - 1 :]) <= negligible:
        kept -= 1
    return u[:, :kept]
