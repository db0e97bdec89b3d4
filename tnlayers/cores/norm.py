"""The exact ||W||^2 of a layer by contraction of its network with itself: W is not built, the value is differentiable.

For a sum of networks, ||A + B||^2 = <A, A> + <B, B> + 2 Re <A, B>. Where two terms split their features in ways that no
refinement reconciles, one of the two is rebuilt for their overlap alone; the value is exact in every case.

As a penalty it is the weight decay of the dense layer; decay of the cores is another thing (`docs/training.md`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import combinations, product
from math import prod, sqrt

from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.overlap import Below, Overlap, overlap
from tnlayers.declare.graph import Core, Graph
from tnlayers.planning.choosing import plan_contraction
from tnlayers.program.program import Array, Primitives

# A doubled network has many hyperedges (open indices with masks on them); `dp` takes ten seconds at 16 such operands.
_AUTO_UP_TO = 12


def norm2(ops: Primitives, layer: LinearMap, cores: Sequence[Array]) -> Array:
    """The sum of |W|^2 over all entries of the weight: a real scalar, `to_dense()` squared and summed.

    Args:
        ops: The primitives of the arrays' backend.
        layer: The layer's framework-free half.
        cores: Its cores, in order of declaration.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0, dtype="float64")
        >>> bool(np.isclose(layer.norm2(), np.sum(layer.to_dense() ** 2)))
        True
    """
    own = list(layer.split(cores))
    features = _features(layer)
    squares = [
        bond_norms2(ops, graph, its, features, layer.dtype) for graph, its in zip(layer.graphs, own, strict=True)
    ]
    mixed = [2 * _between(ops, layer, pair, [own[k] for k in pair]) for pair in combinations(range(len(own)), 2)]
    return reduce(operator.add, [*squares, *mixed])


def relative_difference(
    ops: Primitives, layer: LinearMap, before: Sequence[Array], after: Sequence[Array], dtype: str
) -> float:
    """||W - W'|| / ||W|| of two sets of cores of one network, exact to about 1e-8 in double precision; W is not built.

    Args:
        ops: The primitives of the arrays' backend.
        layer: The layer's framework-free half.
        before: The cores of W, not all zero.
        after: Those of W'.
        dtype: The name of the arrays' dtype.
    """
    own = [list(layer.split(cores)) for cores in (before, after)]

    def inner(a: int, b: int) -> float:
        found = 0.0
        for (k, graph), (j, _) in product(enumerate(layer.graphs), repeat=2):
            if k == j:
                itself = overlap(graph, graph, _features(layer))
                assert itself is not None
                found += float(_run(ops, itself, own[a][k], own[b][k], dtype))
            else:
                found += float(_between(ops, layer, (k, j), [own[a][k], own[b][j]]))
        return found

    norm = inner(0, 0)
    return sqrt(max(norm + inner(1, 1) - 2 * inner(0, 1), 0.0) / norm) if norm > 0 else 0.0


def bond_norms2(
    ops: Primitives,
    graph: Graph,
    cores: Sequence[Array],
    features: tuple[int, int],
    dtype: str,
    bond: int | None = None,
) -> Array:
    """||W_i||^2 for each value `i` of a bond, W_i being what the network is with the bond fixed at `i`; W = sum of W_i.

    Args:
        ops: The primitives of the arrays' backend.
        graph: The network.
        cores: Its cores.
        features: (in_features, out_features) that count; the modes hold padding beyond.
        dtype: The name of the dtype to plan for.
        bond: A summed index of the graph; None sums all, which gives the scalar ||W||^2.
    """
    itself = overlap(graph, graph, features, bond)
    assert itself is not None  # equal modes refine each other; a shared index is split alike on both sides
    return _run(ops, itself, cores, cores, dtype)


def _between(ops: Primitives, layer: LinearMap, pair: tuple[int, int], cores: Sequence[Sequence[Array]]) -> Array:
    """Re <A, B> of two terms of a sum."""
    graphs = [layer.graphs[k] for k in pair]
    joint = overlap(graphs[0], graphs[1], _features(layer))
    if joint is None:
        small, large = sorted((0, 1), key=lambda k: graphs[k].parameters)
        dense, weight = _rebuilt(ops, layer, pair[small], cores[small], graphs[large])
        joint = overlap(dense, graphs[large], _features(layer))
        assert joint is not None  # one input and one output mode are refined by any modes
        cores = (weight, cores[large])
    return _run(ops, joint, cores[0], cores[1], layer.dtype)


def _rebuilt(
    ops: Primitives, layer: LinearMap, term: int, cores: Sequence[Array], like: Graph
) -> tuple[Graph, Sequence[Array]]:
    """A term as one dense core, padded with zeros to the sizes of another network."""
    rows, columns = prod(like.out_modes), prod(like.in_modes)
    weight = layer.term_weight(ops, term, cores)  # (out_features, in_features)
    weight = ops.pad(weight, columns - layer.spec.in_features)
    weight = ops.permute(ops.pad(ops.permute(weight, (1, 0)), rows - layer.spec.out_features), (1, 0))
    return Graph(cores=(Core("dense", (0, 1)),), sizes=(rows, columns), inputs=(1,), outputs=(0,)), [weight]


def _features(layer: LinearMap) -> tuple[int, int]:
    return layer.spec.in_features, layer.spec.out_features


def _run(ops: Primitives, asked: Overlap, first: Sequence[Array], second: Sequence[Array], dtype: str) -> Array:
    searches = ("auto",) if len(asked.contraction.operands) <= _AUTO_UP_TO else ("greedy", "branch-1")
    plan = min(
        (plan_contraction(asked.contraction, objective="training", optimize=o, dtype=dtype) for o in searches),
        key=lambda plan: plan.seconds,
    )
    masks = [core for mask in asked.masks for core in _mask_cores(ops, mask, first[0])]
    return plan.program.run(ops, [*(core.conj() for core in first), *second, *masks]).real


def _mask_cores(ops: Primitives, mask: Below, like: Array) -> Iterator[Array]:
    """One core per digit, (state before, digit, state after); state 0: equal to the limit so far, 1: less already."""
    unit, last = ops.eye(2, like), len(mask.modes) - 1
    for k, (size, digit) in enumerate(zip(mask.modes, mask.digits, strict=True)):
        less = _ones(ops, digit, size, like)
        equal = _ones(ops, digit + 1, size, like) - less
        any_digit = _ones(ops, size, size, like)
        core = sum(
            ops.reshape(unit[before], (2, 1, 1)) * ops.reshape(vector, (size, 1)) * unit[after]
            for before, vector, after in ((0, equal, 0), (0, less, 1), (1, any_digit, 1))
        )
        core = core[:1] if k == 0 else core  # nothing is known before the first digit
        core = core[..., 1:] if k == last else core  # and the last one must have decided for "less"
        yield core


def _ones(ops: Primitives, count: int, size: int, like: Array) -> Array:
    """`count` ones, then zeros, `size` entries in all."""
    two = ops.sum(ops.eye(2, like), (0,))
    ones = two
    while ones.shape[0] < count:
        ones = ops.reshape(ops.reshape(ones, (-1, 1)) * two, (-1,))
    return ops.pad(ones[:count], size - count)
