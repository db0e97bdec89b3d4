"""Slices: a bond cut into equal parts, one contraction per part, the results added.

An index that is summed may be summed in parts: with bond s cut into n,

    sum_s A_s B_s  =  sum over n parts of (sum_{s in part} A_s B_s),

so the layer is run once per part on slices of the cores that have the bond, and every state that has it is n times
smaller. What does not depend on the bond is computed n times. It is the last resort of a plan that has to keep a
`memory_limit`: chunks of one row cannot make the state of a row smaller, nor the gradients of prepared matrices; slices
can (contraction slicing: Gray and Kourtis, arXiv 2002.01935, section 4.3).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TypeAlias

from tnlayers.declare.graph import Contraction
from tnlayers.pricing.counts import Cost

Slices: TypeAlias = tuple[tuple[int, int], ...]  # an index, and into how many parts it is cut


def pieces(slices: Slices) -> int:
    """How many contractions there are in place of one."""
    return prod(parts for _, parts in slices)


def piece(contraction: Contraction, slices: Slices) -> Contraction:
    """The contraction of one part of every sliced index."""
    if not slices:
        return contraction
    cut = dict(slices)
    return replace(contraction, sizes=tuple(size // cut.get(i, 1) for i, size in enumerate(contraction.sizes)))


def sliceable(contraction: Contraction) -> tuple[int, ...]:
    """Indices that can be cut: summed, longer than 1, and no axis of the operand that has the batch."""
    fixed = {*contraction.output}.union(*(op for op in contraction.operands if contraction.batch in op))
    found = dict.fromkeys(i for op in contraction.operands for i in op)
    return tuple(i for i in found if i not in fixed and contraction.sizes[i] > 1)


def next_cut(size: int, parts: int) -> int | None:
    """The next larger number of equal parts: the smallest divisor of a size that is at least twice as many."""
    return next((n for n in range(2 * parts, size + 1) if size % n == 0), None)


def times(cost: Cost, count: int) -> Cost:
    """The cost of the same thing done several times."""
    return replace(cost, flops=count * cost.flops, bytes=count * cost.bytes, copied=count * cost.copied)
