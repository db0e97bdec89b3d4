"""Rows of a table through slices of its cores, on any backend: what each id takes from every core, contracted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from operator import add

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.cores.lookup import LookupMap, Slices, strides
from tnlayers.declare.graph import Graph
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Array


def look_up(ops: Arithmetic, table: LookupMap, ids: Array, cores: Sequence[Array], plans: Sequence[Plan]) -> Array:
    """The rows of some ids, the table never built.

    Args:
        ops: The primitives of the cores' backend.
        table: How the cores are sliced.
        ids: Numbers of rows, (n,).
        cores: The cores, in order of declaration.
        plans: One per network, of `table.plans_for`.

    Returns:
        Rows (n, embedding_dim).
    """
    matrix, parts = table.matrix, []
    for plan, graph, cut, own in zip(plans, matrix.graphs, table.slices, matrix.split(cores), strict=True):
        rows = plan.program.run(ops, operands(ops, ids, graph, cut, own))
        parts.append(ops.reshape(rows, (ids.shape[0], prod(graph.out_modes)))[:, : matrix.spec.out_features])
    return reduce(add, parts)


def operands(ops: Arithmetic, ids: Array, graph: Graph, cut: Sequence[Slices], cores: Sequence[Array]) -> list[Array]:
    """The slices of every core for every id, and the one-hot vectors of modes that the output has as well."""
    sizes = graph.in_modes
    digits = [ids // step % size for step, size in zip(strides(sizes), sizes, strict=True)]
    digits[0] = ids // strides(sizes)[0]  # not wrapped: an id beyond all modes is out of range for its core
    found = [_slice(ops, core, part, digits) for core, part in zip(cores, cut, strict=True)]
    shared = ((digits[graph.inputs.index(i)], graph.sizes[i]) for i in graph.shared)
    return found + [ops.one_hot(digit, size, cores[0]) for digit, size in shared]


def _slice(ops: Arithmetic, core: Array, part: Slices, digits: Sequence[Array]) -> Array:
    """The core at the digits of each id: (ids, *kept axes). Axes chosen along together are one axis."""
    if not part.axes:
        return core
    chosen = [core.shape[k] for k in part.axes]
    place = reduce(add, (digits[mode] * step for mode, step in zip(part.modes, strides(tuple(chosen)), strict=True)))
    kept = (core.shape[k] for k in part.kept)
    return ops.take(ops.reshape(ops.permute(core, (*part.axes, *part.kept)), (prod(chosen), *kept)), place)
