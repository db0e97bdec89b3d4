"""A start for fits by least squares: the loop-free network inside one with loops, split by SVDs.

      o---o            o---o          A bond at its first value alone joins nothing. Where such bonds open all loops,
      |   |    ---->   |              a tree is left, whose cores come from a weight by one SVD per bond; all other
      o---o            o---o          values of the opened bonds begin near zero, for the fit to use.

A network whose other bonds are wide enough has the weight exactly in this way, where fits from random cores may not
arrive. Hyperedges are opened too, so that a sum of Tucker blocks begins as its first block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log, prod

import numpy as np

from tnlayers.cores.initialise import draw_layer
from tnlayers.declare.graph import Graph
from tnlayers.decompose.end_factors import end_factors, from_low_rank
from tnlayers.decompose.fibres import from_fibres, on_one_edge
from tnlayers.decompose.roles import every_role, size
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.tied_tree import is_tied_tree, split_tied
from tnlayers.decompose.truncated_svd import spectra, split_tree
from tnlayers.program.program import Array

_TREES = 64  # that are compared, drawn from all there are
_SMALL = 2**15  # entries that the cores around each core have together
_NOISE = 1e-2  # of the opened bonds' other values, in root mean squares of the core


def opened(graph: Graph) -> tuple[int, ...] | None:
    """The summed indices to open, so that what is left is a tree; None where no tree is left.

    Of several trees the one whose bonds leave out least by their sizes, for a weight of full rank.

    Args:
        graph: Any network.

    Example:
        >>> import tnlayers as tnl
        >>> ring = tnl.spec("ring(in=2x2x2, out=2x2x2, bond=4)").graph
        >>> len(ring.summed), len(opened(ring))
        (3, 1)
        >>> opened(tnl.spec("cp(in=2x2, out=2x2, rank=3)").graph) is None
        True
    """
    best = min(openings(graph), key=lambda one: one[1], default=None)
    return None if best is None else best[0]


def openings(graph: Graph) -> Iterator[tuple[tuple[int, ...], float]]:
    """Ways to open a network so that a tree is left, and how much wider than its bonds the cuts of each may have to be.

    Args:
        graph: Any network.
    """
    ends = {i: [k for k, core in enumerate(graph.cores) for own in core.indices if own == i] for i in graph.summed}
    modes = [i for core in graph.cores for i in core.indices if i not in ends]
    if graph.shared or len(set(modes)) < len(modes) or any(len(set(own)) < 2 for own in ends.values()):
        return
    pairs: dict[tuple[int, ...], list[int]] = {}
    for index, own in ends.items():
        if len(own) == 2:
            pairs.setdefault(tuple(sorted(own)), []).append(index)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(_TREES):
        order = [list(pairs)[k] for k in rng.permutation(len(pairs))]
        tree = _spanning(len(graph.cores), order)
        if tree is None:
            return
        kept = {index for pair in tree for index in pairs[pair]}
        if frozenset(kept) not in seen:
            seen.add(frozenset(kept))
            lost = sum(_lost(graph, tree, pair, pairs[pair]) for pair in tree)
            yield tuple(i for i in graph.summed if i not in kept), lost


def from_tree(
    ops: Splitting, graph: Graph, weight: Array, opening: Sequence[int], rng: np.random.Generator | None
) -> list[Array]:
    """The cores of a network from the tree inside it.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network.
        weight: The weight of shape (product of out modes, product of in modes).
        opening: What `opened` found.
        rng: Draws small entries for the other values of the opened bonds; None leaves them zero.
    """
    cores, _ = split_tree(ops, _inside(graph, opening), weight)
    return [_widened(ops, graph, k, core, opening, rng) for k, core in enumerate(cores)]


def closed_form(
    ops: Splitting, graph: Graph, weight: Array, rounding: float, opening: Sequence[int] | None = None
) -> list[Array] | None:
    """The cores of a network that has to be fitted, as far as there are some without a fit; else None.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network.
        weight: The weight of shape (product of out modes, product of in modes).
        rounding: The relative error that is rounding.
        opening: The bonds to open where there are loops; None for those that `opened` finds.
    """
    if is_tied_tree(graph):
        return split_tied(ops, graph, weight)
    if on_one_edge(graph):
        square = float(ops.sum((weight.conj() * weight).real, (0, 1)))
        return from_fibres(ops, graph, weight, (0.1 * rounding) ** 2 * square / len(graph.cores))
    if end_factors(graph) is not None:
        return from_low_rank(ops, graph, weight, None, None)
    opening = opened(graph) if opening is None else opening
    return None if opening is None else from_tree(ops, graph, weight, opening, None)


def starts(
    ops: Splitting, graph: Graph, weight: Array, count: int, rng: np.random.Generator, metric: Array | None = None
) -> Iterator[list[Array]]:
    """Where fits start from: the tree, or the matrix of low rank, inside the network where there is one; random cores.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network.
        weight: The weight of shape (product of out modes, product of in modes).
        count: How many.
        rng: Draws the cores.
        metric: M of the inputs, where the error is measured in one.
    """
    opening, tied, ends = opened(graph), is_tied_tree(graph), end_factors(graph) is not None
    if opening is not None:
        yield from_tree(ops, graph, weight, opening, rng)
    if tied:
        yield split_tied(ops, graph, weight)
    if ends:
        yield from_low_rank(ops, graph, weight, metric, rng)
    dtype = str(weight.dtype).removeprefix("torch.")
    square = float(ops.sum((weight.conj() * weight).real, (0, 1)))
    for _ in range(count - (opening is not None) - tied - ends):
        drawn = draw_layer([graph], max(square / prod(weight.shape), 1e-30), rng, dtype)
        yield [ops.like(core, weight) for core in drawn.values()]


def free_parameters(graph: Graph) -> int:
    """Parameters less those of gauge: a bond may be changed by any matrix, a hyperedge by scales that multiply to 1."""
    gauge = 0
    for index in graph.summed:
        legs = graph.legs(index)
        gauge += graph.sizes[index] ** 2 if legs == 2 else (legs - 1) * graph.sizes[index]
    return graph.parameters - gauge


def enough_starts(graph: Graph, restarts: int) -> int:
    """From how many starts all cores together are fitted: with more entries than the weight they hardly need several.

    Args:
        graph: The network.
        restarts: For a network of fewer entries; three times as many where a fit takes little.
    """
    entries = size(graph, (*graph.outputs, *graph.inputs))
    if free_parameters(graph) >= entries:
        return 1 + (opened(graph) is not None)
    work = sum(entries // size(graph, one.free) * size(graph, one.coupled) for one in every_role(graph))
    return 3 * restarts if work <= _SMALL else restarts


def tree_spectra(ops: Splitting, graph: Graph, weight: Array, opening: Sequence[int]) -> dict[int, Array]:
    """The singular values of a weight at every bond of the tree inside a network.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: The network, no two of whose cores have several bonds that stay.
        weight: The weight of shape (product of out modes, product of in modes).
        opening: What `opened` found.
    """
    return {bond[0]: values for bond, values in spectra(ops, _inside(graph, opening), weight).items()}


def _inside(graph: Graph, opening: Sequence[int]) -> Graph:
    """The tree that is left."""
    cores = tuple(replace(core, indices=tuple(i for i in core.indices if i not in opening)) for core in graph.cores)
    return replace(graph, cores=cores)


def _widened(
    ops: Splitting, graph: Graph, k: int, core: Array, opening: Sequence[int], rng: np.random.Generator | None
) -> Array:
    """A core of the tree at the first value of the opened bonds that it has."""
    indices = graph.cores[k].indices
    own = [i for i in indices if i in opening]
    if not own:
        return core
    kept, room, size = [i for i in indices if i not in opening], prod(graph.sizes[i] for i in own), prod(core.shape)
    column = ops.pad(ops.reshape(core, (size, 1)), room - 1)  # the opened bonds last, all but their first values zero
    if rng is not None:
        scale = _NOISE * (float(ops.sum((core.conj() * core).real, tuple(range(core.ndim)))) / size) ** 0.5
        drawn = rng.standard_normal((size, room)) * scale
        drawn[:, 0] = 0.0
        column = column + ops.like(drawn, column)
    merged = ops.reshape(column, tuple(graph.sizes[i] for i in (*kept, *own)))
    return ops.permute(merged, tuple([*kept, *own].index(i) for i in indices))


def _spanning(cores: int, pairs: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]] | None:
    """The pairs, in their order, that join what is not joined yet (Kruskal 1956); None if some core stays alone."""
    part = list(range(cores))
    tree = []
    for pair in pairs:
        a, b = (part[k] for k in pair)
        if a != b:
            part = [a if p == b else p for p in part]
            tree.append(pair)
    return tree if len(set(part)) == 1 else None


def _lost(graph: Graph, tree: Sequence[tuple[int, ...]], pair: tuple[int, ...], bond: Sequence[int]) -> float:
    """How much wider than its bond a cut may have to be, as a logarithm."""
    side, grown = {pair[0]}, True
    while grown:
        near = {k for other in tree if other != pair and side & {*other} for k in other}
        grown = not near <= side
        side |= near
    modes = {*graph.inputs, *graph.outputs}
    sizes = [1, 1]
    for k, core in enumerate(graph.cores):
        sizes[k in side] *= prod(graph.sizes[i] for i in core.indices if i in modes)
    return max(0.0, log(min(sizes) / prod(graph.sizes[i] for i in bond)))
