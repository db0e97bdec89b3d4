"""A start for networks that are low rank where all cores but two are ones: the truncated SVD of the weight.

    W[o, i]  =  sum over r of  up[o, r] * (what other cores say of r, and of some modes) * down[i, r]

One core has all outputs, one all inputs, and one index joins all cores: `blast` (arXiv 2410.21262) is such a network.
With ones in between it is the best matrix of its rank, in a metric of the inputs too; a fit goes on from there.
"""

from __future__ import annotations

import numpy as np

from tnlayers.declare.graph import Graph
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.whitening import root_of
from tnlayers.program.program import Array

_NOISE = 1e-2  # of values of the rank that the weight's own has no use for, in root mean squares of the core


def end_factors(graph: Graph) -> tuple[int, int] | None:
    """The core that has all outputs and the one that has all inputs; None for networks of another kind.

    Example:
        >>> import tnlayers as tnl
        >>> [end_factors(tnl.spec(f"{name}(in=2x2, out=2x2)").graph) for name in ("blast", "btt", "cp")]
        [(2, 0), None, None]
    """
    if len(graph.summed) != 1 or graph.shared or len(graph.cores) < 3:
        return None
    (rank,) = graph.summed
    own = [sorted(i for i in core.indices if i != rank) for core in graph.cores]
    if any(core.indices.count(rank) != 1 for core in graph.cores):
        return None
    ups = [k for k, modes in enumerate(own) if modes == sorted(graph.outputs)]
    downs = [k for k, modes in enumerate(own) if modes == sorted(graph.inputs)]
    return (ups[0], downs[0]) if ups and downs else None


def from_low_rank(
    ops: Splitting, graph: Graph, weight: Array, metric: Array | None, rng: np.random.Generator | None
) -> list[Array]:
    """The cores of a network that has `end_factors`, from the best matrix of its rank.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network.
        weight: The weight of shape (product of out modes, product of in modes).
        metric: M of the inputs, (product of in modes, the same); None for the identity.
        rng: Draws small entries for values of the rank above that of the weight; None leaves them zero.

    Example:
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> graph = tnl.spec("blast(in=2x3, out=2x2, rank=4)").graph
        >>> weight = np.random.default_rng(0).standard_normal((4, 6))
        >>> down, scale, up = from_low_rank(backend("numpy").ops, graph, weight, None, None)
        >>> bool(np.allclose(np.einsum("aor,abr,bir->aobi", up, scale, down).reshape(4, 6), weight))
        True
    """
    found = end_factors(graph)
    assert found is not None, "the network is of another kind"
    (rank,) = graph.summed
    root, inverse = (None, None) if metric is None else root_of(ops, metric)
    u, s, vh = ops.svd(weight if root is None else ops.matmul(weight, root))
    room = graph.sizes[rank]
    kept = min(room, s.shape[0])
    halves = ops.reshape(s[:kept], (1, kept)) ** 0.5
    right = vh[:kept] if inverse is None else ops.matmul(vh[:kept], inverse)
    factors = {
        found[0]: (u[:, :kept] * halves, (*graph.outputs, rank)),
        found[1]: (ops.permute(right, (1, 0)) * halves, (*graph.inputs, rank)),
    }
    cores = []
    for k, core in enumerate(graph.cores):
        if k not in factors:
            cores.append(ops.like(np.ones([graph.sizes[i] for i in core.indices]), weight))
            continue
        matrix, axes = factors[k]
        wide = ops.pad(matrix, room - kept)
        if rng is not None and room > kept:
            drawn = rng.standard_normal(tuple(wide.shape))
            drawn[:, :kept] = 0.0
            mean = float(ops.sum((matrix.conj() * matrix).real, (0, 1))) / (matrix.shape[0] * kept)
            wide = wide + ops.like(drawn * _NOISE * mean**0.5, wide)
        shaped = ops.reshape(wide, tuple(graph.sizes[i] for i in axes))
        cores.append(ops.permute(shaped, tuple(axes.index(i) for i in core.indices)))
    return cores
