"""Layouts: turn a contraction path into a program whose operands need as few copies as possible.

The result of a matrix product has its axes in the order (batch, rows, columns). Exchanging the operands exchanges rows
and columns, and the summed axes may follow either operand's order. Where the axes that a core contracts lie side by
side in the array that has the batch axis, the core's own axes can also take their place in the middle, in any order,
since the small core is laid out as the step wants: (before, run, after) -> (before, new, after). These choices decide
whether the next step can view the result as a matrix or has to copy it. A beam search over the steps keeps the few
partial programs of the least estimated time so far.

In the middle one core is multiplied with each matrix of a stack. That copies nothing, but reads the core and adds to
its gradient once per matrix: where the core is large and the batch small, copying the state for a single product takes
less. A path is lowered with stacks or without, whichever is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tnlayers.declare.graph import Contraction, repeated
from tnlayers.program.axes import Indices, Path, ends_of, shape_of
from tnlayers.program.pair_layouts import RATES, PairLayouts, PairProduct
from tnlayers.program.program import Arrange, Multiply, Program, Reduce, Step

_BEAM = 8


class _Partial(NamedTuple):
    """A program under construction: the products so far, each register's axes, and the seconds that rank it."""

    products: tuple[PairProduct, ...]
    indices: tuple[Indices, ...]
    seconds: float


@lru_cache(maxsize=1024)
def assemble(contraction: Contraction, path: Path, *, stacked: bool = True) -> Program:
    """Lower a path to a program.

    Args:
        contraction: What to compute.
        path: Pairs of registers to contract; operand `k` is register `k`, each pair makes the next register.
        stacked: Whether one core may be multiplied with each matrix of a stack that the state is viewed as.

    Returns:
        The program of the least estimated time that the beam search finds.
    """
    program = _lowered(contraction, path, None, stacked)
    assert program is not None
    return program


def follow(contraction: Contraction, path: Path, orders: Sequence[Indices], *, stacked: bool) -> Program | None:
    """Lower a path whose best layouts are known, without searching them.

    Args:
        contraction: What to compute.
        path: As for `assemble`.
        orders: The axes of each pair's result in memory order, as in `Program.indices`.
        stacked: As for `assemble`.

    Returns:
        The program that `assemble` found when it chose these orders; None where they do not belong to this path.
    """
    return _lowered(contraction, path, orders, stacked)


def _lowered(contraction: Contraction, path: Path, orders: Sequence[Indices] | None, stacked: bool) -> Program | None:
    """The best program, among those whose results stand in the given orders if there are any."""
    operands = len(contraction.operands)
    reduced, start = _reduce_operands(contraction)
    # Where an operand went after its reduction; the pairs of `path` count operands and pairs only.
    place = list(range(operands))
    for number, step in enumerate(reduced):
        place[step.register] = operands + number
    beam = [_Partial((), start, 0.0)]
    layouts = PairLayouts(contraction, ends_of(contraction, start, place, path), len(path), stacked)
    alive: set[int] = set()  # results of pairs that wait for another; what follows depends on their axes alone
    readers = {register: number for number, pair in enumerate(path) for register in pair}
    for number, (a, b) in enumerate(path):
        alive -= {place[a], place[b]}
        best: dict[tuple[Indices, ...], _Partial] = {}
        for partial in beam:
            left = tuple([partial.indices[k] for k in alive])
            for product in layouts.products(partial.indices, place[a], place[b], number):
                if orders is not None and product.result != orders[number]:
                    continue
                seconds = partial.seconds + product.arithmetic + product.copied + RATES.seconds_per_call
                key = (*left, product.result)
                known = best.get(key)
                if known is None or seconds < known.seconds:
                    best[key] = _Partial((*partial.products, product), (*partial.indices, product.result), seconds)
        alive.add(len(start) + number)
        place.append(len(start) + number)
        waiting = [(place[k], readers[k]) for k in range(operands, len(place)) if readers.get(k, 0) > number]
        ranked = sorted(best.values(), key=lambda partial: partial.seconds + layouts.expected(partial.indices, waiting))
        beam = ranked[:_BEAM]
    return _finished(contraction, layouts, reduced, beam) if beam else None


def _finished(
    contraction: Contraction, layouts: PairLayouts, reduced: tuple[Reduce, ...], beam: Sequence[_Partial]
) -> Program:
    """The best of the last partial programs, its result put into the order of the output."""

    def result(partial: _Partial) -> int:
        return len(partial.indices) - 1 if partial.products or reduced else 0

    ends = [layouts.flat(partial.indices[result(partial)], contraction.output) for partial in beam]
    totals = [partial.seconds + seconds for partial, (_, seconds) in zip(beam, ends, strict=True)]
    best = totals.index(min(totals))
    partial, (form, _) = beam[best], ends[best]
    view = layouts.views.view
    steps: list[Step] = list(reduced)
    for (left, left_form), (right, right_form), sizes, *_ in partial.products:
        steps.append(Multiply((left, view(left_form)), (right, view(right_form)), sizes))
    indices = partial.indices
    if form is not None:
        steps.append(Arrange(result(partial), view(form)))
        indices = (*indices, contraction.output)
    shape = shape_of(contraction, [(i,) for i in contraction.output])
    return Program(len(contraction.operands), tuple(steps), indices, shape)


def _reduce_operands(contraction: Contraction) -> tuple[tuple[Reduce, ...], tuple[Indices, ...]]:
    """One step for each operand with repeated axes or with axes that nothing else has, and all registers' axes."""
    steps: list[Reduce] = []
    registers = list(contraction.operands)
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
            shape = shape_of(contraction, [[i] for i in indices])
            steps.append(Reduce(register, shape, tuple(diagonals), gone, elements))
            registers.append(left)
    return tuple(steps), tuple(registers)
