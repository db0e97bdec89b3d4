"""Pruning: values of bonds that contribute (almost) nothing to W are removed, and the bonds become smaller.

What a value `i` of a bond contributes is W_i, the network with the bond fixed at `i`; W is the sum of all W_i. Norms
are exact, by contraction (`norm.bond_norms2`). Bonds are cut one after the other, each within its share of the
tolerance, so that ||W - W'|| <= tolerance ||W|| by the triangle inequality.

The smaller network is declared by the same network type with smaller numbers, so that the spec stays true: one number
per bond where the type takes that, else the least number that leaves every bond what it needs. Bonds that are then
larger than their cores can fill are reduced by QR, which changes nothing of W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod, sqrt

from tnlayers.cores.canonical import Factoring, Move, push
from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.norm import bond_norms2, norm2
from tnlayers.declare.clipping import SIZES, even
from tnlayers.declare.graph import Graph
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedBond:
    """What became of one bond.

    Attributes:
        cores: The names of the cores that share it.
        before: Its size.
        dead: How many of its values were within the tolerance.
        after: Its new size; larger than `before - dead` where the network type gives several bonds one number.
    """

    cores: tuple[str, ...]
    before: int
    dead: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What pruning did; printing it shows a line per bond.

    Attributes:
        bonds: One entry per bond, in order of declaration.
        parameters: Entries of all cores (before, after).
        error: A bound on ||W - W'|| / ||W||.
    """

    bonds: tuple[PrunedBond, ...]
    parameters: tuple[int, int]
    error: float

    def __str__(self) -> str:
        lines = [f"{' - '.join(b.cores)}: {b.before} -> {b.after} ({b.dead} dead)" for b in self.bonds]
        end = f"{self.parameters[0]} -> {self.parameters[1]} parameters, relative change of W at most {self.error:.3g}"
        return "\n".join([*lines, end])


def pruned(
    ops: Factoring, layer: LinearMap, cores: Sequence[Array], tolerance: float
) -> tuple[Spec, list[Array], Pruned]:
    """The layer without the bond values that contribute nothing.

    Args:
        ops: The primitives of the arrays' backend, with its QR.
        layer: The layer's framework-free half.
        cores: Its cores, in order of declaration.
        tolerance: How much of ||W|| the removed values may contribute together; 0 removes what is exactly zero.

    Returns:
        The smaller spec, its cores, and the report.

    Raises:
        TNLayersError: If the tolerance is not in [0, 1), or the network type is not declared here.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance < 1:
        raise TNLayersError(f"tolerance={tolerance!r}: the part of ||W|| that may go, from 0 to below 1, such as 1e-3.")
    norm = sqrt(max(float(norm2(ops, layer, cores)), 0.0))
    budget = tolerance * norm / max(sum(len(graph.summed) for graph in layer.graphs), 1)
    features = (layer.spec.in_features, layer.spec.out_features)
    parts: list[Spec] = []
    new_cores: list[Array] = []
    bonds: list[PrunedBond] = []
    removed = 0.0
    for part, graph, own in zip(layer.spec.parts, layer.graphs, layer.split(cores), strict=True):
        left, needed, gone = _cut(ops, graph, own, features, layer.dtype, budget)
        smaller, sizes = smallest(replace(part, lowered=()), graph, needed)
        kept = tuple(map(max, needed, sizes))
        if kept != needed:  # the type keeps more than is needed: begin again and cut less
            left, _, gone = _cut(ops, graph, own, features, layer.dtype, kept)
        new_cores += _reduced(ops, graph, kept, left)
        parts.append(smaller)
        removed += gone
        bonds += [
            PrunedBond(
                cores=tuple(core.name for core in graph.cores if i in core.indices),
                before=graph.sizes[i],
                dead=graph.sizes[i] - needed[i],
                after=sizes[i],
            )
            for i in graph.summed
        ]
    spec = parts[0] if len(parts) == 1 else replace(layer.spec, terms=tuple(parts), lowered=())
    if all(bond.before == bond.after for bond in bonds):
        spec = layer.spec  # also where the type is not declared here
    count = (sum(graph.parameters for graph in layer.graphs), spec.parameters)
    return spec, new_cores, Pruned(bonds=tuple(bonds), parameters=count, error=removed / norm if norm else 0.0)


def _cut(
    ops: Factoring,
    graph: Graph,
    cores: Sequence[Array],
    features: tuple[int, int],
    dtype: str,
    limit: float | tuple[int, ...],
) -> tuple[list[Array], tuple[int, ...], float]:
    """Remove the values that contribute least from one bond after the other.

    Args:
        ops: The primitives of the arrays' backend.
        graph: The network.
        cores: Its cores.
        features: (in_features, out_features) of the layer.
        dtype: For planning.
        limit: What may go: the sum of norms that each bond may lose, or the size that each index is to have.

    Returns:
        The cores, the size of every index, and the sum of the norms of what went.
    """
    left, sizes, removed = list(cores), list(graph.sizes), 0.0
    for bond in graph.summed:
        if isinstance(limit, tuple) and limit[bond] == sizes[bond]:
            continue
        now = replace(graph, sizes=tuple(sizes))
        squares = bond_norms2(ops, now, left, features, dtype, bond).tolist()
        ranked = sorted((sqrt(max(square, 0.0)), value) for value, square in enumerate(squares))
        norms = [share for share, _ in ranked]
        count = sizes[bond] - limit[bond] if isinstance(limit, tuple) else _within(norms, limit)
        removed += sum(norms[:count])
        values = sorted(value for _, value in ranked[count:])
        left = [_taken(core, own.indices, bond, values) for core, own in zip(left, graph.cores, strict=True)]
        sizes[bond] -= count
    return left, tuple(sizes), removed


def _within(norms: Sequence[float], budget: float) -> int:
    """How many of the ascending norms fit into a budget together; one value of a bond always stays."""
    sums = accumulate(norms[:-1])
    return sum(1 for total in sums if total <= budget)


def _taken(core: Array, indices: Sequence[int], bond: int, values: list[int]) -> Array:
    """A core with only some values of a bond."""
    for axis, index in enumerate(indices):
        if index == bond and len(values) < core.shape[axis]:
            core = core[(slice(None),) * axis + (values,)]
    return core


def smallest(part: Spec, graph: Graph, needed: tuple[int, ...]) -> tuple[Spec, tuple[int, ...]]:
    """The least numbers of a network type whose network holds bonds of these sizes, and the sizes it gives them."""
    if needed == graph.sizes:
        return part, graph.sizes
    kind = network_type(part.network)
    for key in SIZES:
        value = dict(part.options).get(key, kind.keywords.get(key))
        if not isinstance(value, (int, tuple)):
            continue
        if key in kind.per_edge and isinstance(value, int):  # as many numbers as the type wants for the same network
            most = len(graph.summed) + len(graph.inputs) + len(graph.outputs)
            lists = ((value,) * count for count in range(1, most + 1))
            value = next((each for each in lists if _sizes_of(_with(part, key, each), graph, needed)), value)
        entries = [int(size) for size in (value if isinstance(value, tuple) else (value,))]
        for k, entry in enumerate(entries):
            for size in range(1, entry):
                less = [*entries[:k], size, *entries[k + 1 :]]
                smaller = _with(part, key, tuple(less) if isinstance(value, tuple) else size)
                if _sizes_of(smaller, graph, needed) is not None:
                    part, entries = smaller, less
                    break
    sizes = _sizes_of(part, graph, needed)
    if sizes is None:  # the spec as it was holds all that is needed, but does not declare this network
        raise TNLayersError(
            f"{part} is not how its network type declares it: it holds the cores of another layer and reads them the "
            "other way round. Cut the bonds of the layer that it is tied to before tying, or compress anew."
        )
    return even(part), sizes


def _with(spec: Spec, key: str, value: int | tuple[int, ...]) -> Spec:
    return replace(spec, options=tuple(sorted({**dict(spec.options), key: value}.items())))


def _sizes_of(spec: Spec, graph: Graph, needed: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes that a smaller spec gives the indices of a network; None if it declares another, or holds too little.

    Where a bond needs more than it gets, the surplus must be more than its cores can fill: QR then takes it away.
    """
    try:
        smaller = spec.graph
    except TNLayersError:  # these numbers do not go together: not a candidate
        return None
    if not alike(smaller, graph) or any(a > b for a, b in zip(smaller.sizes, graph.sizes, strict=True)):
        return None
    kept = tuple(map(max, needed, smaller.sizes))
    return smaller.sizes if _filled(graph, kept)[0] == smaller.sizes else None


def alike(one: Graph, other: Graph) -> bool:
    """Whether two networks differ at most in the sizes of their indices."""
    ends = (one.inputs, one.outputs) == (other.inputs, other.outputs)
    return ends and [core.indices for core in one.cores] == [core.indices for core in other.cores]


def _filled(graph: Graph, sizes: Sequence[int]) -> tuple[tuple[int, ...], list[Move]]:
    """The sizes once no bond is larger than the other axes of either of its cores, and the moves that get there."""
    now, moves, changed = list(sizes), list[Move](), True
    while changed:
        changed = False
        for bond in graph.summed:
            ends = [k for k, core in enumerate(graph.cores) if bond in core.indices]
            if graph.legs(bond) != 2 or len(ends) != 2:
                continue
            rooms = [prod(now[i] for i in graph.cores[k].indices if i != bond) for k in ends]
            source = 0 if rooms[0] <= rooms[1] else 1
            if now[bond] > rooms[source]:
                now[bond], changed = rooms[source], True
                moves.append(Move(ends[source], ends[1 - source], (bond,)))
    return tuple(now), moves


def _reduced(ops: Factoring, graph: Graph, sizes: Sequence[int], cores: Sequence[Array]) -> list[Array]:
    """The cores with every bond as small as its cores can fill; W is unchanged."""
    left = list(cores)
    for move in _filled(graph, sizes)[1]:
        left[move.source], left[move.target] = push(left, graph, move, ops, ops.qr)
    return left
