"""Layouts: turn a contraction path into a program whose operands need as few copies as possible.

The result of a matrix product has its axes in the order (batch, rows, columns). Exchanging the operands exchanges rows
and columns, and the summed axes may follow either operand's order; so each step leaves four choices. They decide
whether the next step can view the result as a matrix or has to copy it. A beam search over the steps keeps the few
choices with the fewest copied entries so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from tnlayers.lower import Contraction, repeated
from tnlayers.program import Arrange, Multiply, Program, Reduce, Step, View

Path: TypeAlias = tuple[tuple[int, int], ...]
Indices: TypeAlias = tuple[int, ...]

_BEAM = 4


@dataclass(frozen=True, slots=True)
class _Partial:
    """A program under construction: the steps so far, each register's axes, and the entries copied."""

    steps: tuple[Step, ...]
    indices: tuple[Indices, ...]
    copied: int


def assemble(contraction: Contraction, path: Path) -> Program:
    """Lower a path to a program.

    Args:
        contraction: What to compute.
        path: Pairs of registers to contract; operand `k` is register `k`, each pair makes the next register.

    Returns:
        The program with the fewest copied entries that the beam search finds.
    """
    start = _reduce_operands(contraction)
    # Where an operand went after its reduction; the pairs of `path` count operands and pairs only.
    place = list(range(len(contraction.operands)))
    for number, step in enumerate(start.steps):
        place[step.registers[0]] = len(contraction.operands) + number
    beam = [start]
    for pair in path:
        left, right = place[pair[0]], place[pair[1]]
        others = [place[k] for k in range(len(place)) if k not in pair and place[k] >= 0]
        grown = [longer for partial in beam for longer in _choices(contraction, partial, left, right, others)]
        beam = sorted(grown, key=lambda partial: partial.copied)[:_BEAM]
        place[pair[0]] = place[pair[1]] = -1
        place.append(len(beam[0].indices) - 1)
    finished = min((_arrange(contraction, partial) for partial in beam), key=lambda partial: partial.copied)
    shape = _shape(contraction, [(i,) for i in contraction.output])
    return Program(len(contraction.operands), finished.steps, finished.indices, shape)


def _reduce_operands(contraction: Contraction) -> _Partial:
    """One step for each operand with repeated axes or with axes that nothing else has."""
    partial = _Partial((), contraction.operands, 0)
    for register, indices in enumerate(contraction.operands):
        kept = {*contraction.output}.union(*contraction.operands[:register], *contraction.operands[register + 1 :])
        axes = list(indices)
        diagonals = []
        for index in repeated(indices):
            while axes.count(index) > 1:
                first = axes.index(index)
                second = axes.index(index, first + 1)
                diagonals.append((first, second))
                axes = [i for k, i in enumerate(axes) if k not in (first, second)] + [index]
        gone = tuple(k for k, i in enumerate(axes) if i not in kept)
        if diagonals or gone:
            left = tuple(i for i in axes if i in kept)
            elements = (contraction.elements(axes), contraction.elements(left))
            step = Reduce(register, _shape(contraction, [[i] for i in indices]), tuple(diagonals), gone, elements)
            partial = replace(partial, steps=(*partial.steps, step), indices=(*partial.indices, left))
    return partial


def _choices(
    contraction: Contraction, partial: _Partial, left: int, right: int, others: Sequence[int]
) -> Iterator[_Partial]:
    """The four ways to contract two registers: operands in either order, summed axes in either's order."""
    kept = {*contraction.output}.union(*(partial.indices[k] for k in others))
    for first, second in ((left, right), (right, left)):
        a, b = partial.indices[first], partial.indices[second]
        batch = tuple(i for i in a if i in b and i in kept)
        rows = tuple(i for i in a if i not in b)
        columns = tuple(i for i in b if i not in a)
        orders = {tuple(i for i in leader if i in a and i in b and i not in kept): None for leader in (a, b)}
        for summed in orders:
            view_a = _matrix_view(contraction, a, batch, rows, summed)
            view_b = _matrix_view(contraction, b, batch, summed, columns)
            copied = sum(contraction.elements(x) for x, view in ((a, view_a), (b, view_b)) if view.copies)
            sizes = tuple(contraction.elements(group) for group in (batch, rows, summed, columns))
            step = Multiply((first, view_a), (second, view_b), (sizes[0], sizes[1], sizes[2], sizes[3]))
            yield _Partial(
                (*partial.steps, step), (*partial.indices, (*batch, *rows, *columns)), partial.copied + copied
            )


def _matrix_view(contraction: Contraction, axes: Indices, batch: Indices, rows: Indices, columns: Indices) -> View:
    """View an array as (batch, rows, columns), or as (rows, columns) where there is no batch axis.

    The transposed form (batch, columns, rows) with its last two axes exchanged serves as well; it is taken where it
    needs no copy and the direct form does.
    """
    stack = [batch] if batch else []
    direct = _view(contraction, axes, [*stack, rows, columns])
    if direct.copies:
        transposed = _view(contraction, axes, [*stack, columns, rows])
        if not transposed.copies:
            direct = replace(transposed, swap=True)
    # A product wants rows or columns side by side in memory. Where the batch is innermost neither is, and BLAS would
    # copy behind the plan's back: copy here, and count it.
    present = [i for i in axes if contraction.sizes[i] > 1]
    if present and present[-1] in batch and any(contraction.sizes[i] > 1 for i in (*rows, *columns)):
        return replace(direct, copies=True)
    return direct


def _view(contraction: Contraction, axes: Indices, groups: Sequence[Indices]) -> View:
    """View an array with these axes as one axis per group, permuting where the order differs."""
    wanted = [i for group in groups for i in group]
    shape = _shape(contraction, groups)
    # Axes of size 1 can stand anywhere; all others decide. The batch is one of them even where 1 is planned for: the
    # program runs at other sizes too.
    lasting = [i for i, size in enumerate(contraction.sizes) if size > 1 or i == contraction.batch]
    if [i for i in axes if i in lasting] == [i for i in wanted if i in lasting]:
        return View(None, None, shape)
    present = [i for i in axes if contraction.sizes[i] > 1]
    order = tuple(axes.index(i) for i in wanted)
    copies = any(not _neighbours([i for i in group if contraction.sizes[i] > 1], present) for group in groups)
    return View(_shape(contraction, [[i] for i in axes]), order, shape, copies=copies)


def _neighbours(group: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether a group of axes lies side by side in memory, in order, so that it can be viewed as one axis."""
    if not group:
        return True
    start = axes.index(group[0])
    return list(axes[start : start + len(group)]) == list(group)


def _shape(contraction: Contraction, groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """One size per group; -1 for the group that the batch is in."""
    return tuple(-1 if contraction.batch in group else prod(contraction.sizes[i] for i in group) for group in groups)


def _arrange(contraction: Contraction, partial: _Partial) -> _Partial:
    """Add the step that puts the entries into the order of the output, if they do not stand so already."""
    register = len(partial.indices) - 1 if partial.steps else 0
    view = _view(contraction, partial.indices[register], [contraction.output])
    if view.order is None:
        return partial
    return _Partial(
        (*partial.steps, Arrange(register, view)),
        (*partial.indices, contraction.output),
        partial.copied + (contraction.elements(contraction.output) if view.copies else 0),
    )
