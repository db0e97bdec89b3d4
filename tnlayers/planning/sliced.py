"""Sliced plans at work: the cores of each piece, what slicing costs beside the pieces, and the sum of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from tnlayers.planning.lowered import Lowered
from tnlayers.planning.slices import pieces
from tnlayers.pricing.counts import NOTHING, Cost
from tnlayers.program.program import Array, Primitives


def sliced_cores(plan: Lowered, cores: Sequence[Array], lay: Callable[[Array], Array]) -> Iterator[list[Array]]:
    """The cores of each piece.

    Args:
        plan: The plan.
        cores: All cores, in declared shapes.
        lay: Lays a slice out in memory where it is not so already, as `numpy.ascontiguousarray` does: products want
            their operands so.

    Yields:
        One array per core; cores without a sliced index are the same in each piece.
    """
    for places in piece_places(plan):
        yield [core if place is None else lay(core[place]) for core, place in zip(cores, places, strict=True)]


def piece_places(plan: Lowered) -> Iterator[list[tuple[slice, ...] | None]]:
    """Where each core's part lies, for every piece; None for the whole core."""
    sizes, cut = plan.part.sizes, dict(plan.slices)
    for numbers in product(*(range(parts) for _, parts in plan.slices)):
        first = {i: number * sizes[i] for (i, _), number in zip(plan.slices, numbers, strict=True)}
        yield [
            tuple(slice(first[i], first[i] + sizes[i]) if i in cut else slice(None) for i in indices)
            if cut.keys() & set(indices)
            else None
            for indices in plan.contraction.operands[1:]
        ]


def summed(ops: Primitives, plan: Lowered, x: Array, cores: Sequence[Array]) -> Array:
    """A plan with slices by plain operations, piece by piece: what is traced, and differentiated twice."""
    total: Any = None
    for own in sliced_cores(plan, cores, lambda array: array):
        y = plan.program.run(ops, [x, *own])
        total = y if total is None else total + y
    return total


def copied_cores(plan: Lowered) -> int:
    """Entries of one piece's cores that are copies: slices of an axis that is not the outermost."""
    cut, sizes, total = dict(plan.slices), plan.part.sizes, 0
    for indices in plan.contraction.operands[1:]:
        inner = [prod(sizes[j] for j in indices[:k]) > 1 for k, i in enumerate(indices) if i in cut]
        total += plan.part.elements(indices) if any(inner) else 0
    return total


def slicing_cost(plan: Lowered) -> Cost:
    """What the forward pass takes beside its pieces: slices of cores are copied, and results added."""
    if not plan.slices:
        return NOTHING
    copied = 2 * pieces(plan.slices) * copied_cores(plan)
    added = (pieces(plan.slices) - 1) * plan.contraction.elements(plan.contraction.output)
    return _cost(added, 3 * added + copied, copied, plan.itemsize)


def slicing_back_cost(plan: Lowered) -> Cost:
    """What the backward pass takes beside its pieces: cores sliced and prepared again, and gradients added."""
    if not plan.slices or plan.sweep is None:
        return NOTHING
    count, contraction = pieces(plan.slices), plan.contraction
    chain = plan.sweep.chain
    again = [plan.steps[number] for number in chain.prepared]
    copied = 2 * count * (copied_cores(plan) + sum(link.matrix for link in chain.links if link.core[1].copies))
    added = (count - 1) * contraction.elements(contraction.operands[0])
    added += count * sum(plan.part.elements(indices) for indices in contraction.operands[1:])
    own = _cost(added, 3 * added + copied, copied, plan.itemsize)
    return sum((replace(cost, kept=0) for cost in again), own)


def _cost(flops: int, moved: int, copied: int, itemsize: int) -> Cost:
    return Cost(flops=flops, bytes=itemsize * moved, copied=itemsize * copied, kept=0, result=0)
