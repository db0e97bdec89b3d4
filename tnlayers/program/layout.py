"""Layouts: turn a contraction path into a program whose operands need as few copies as possible.

The result of a matrix product has its axes in the order (batch, rows, columns). Exchanging the operands exchanges rows
and columns, and the summed axes may follow either operand's order. Where the axes that a core contracts lie side by
side in the array that carries the batch, the core's own axes can also take their place in the middle, in any order,
since the small core is laid out as the step wants: (before, run, after) -> (before, new, after). These choices decide
whether the next step can view the result as a matrix or has to copy it. A beam search over the steps keeps the few
partial programs of the least estimated time so far.

In the middle one core is multiplied with each matrix of a stack. That copies nothing, but reads the core and adds to
its gradient once per matrix: where the core is large and the batch small, copying the state for a single product takes
less. A path is lowered with stacks or without, whichever is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tnlayers.declare.graph import Contraction, repeated
from tnlayers.machine.rates import Machine, Sizes
from tnlayers.program.axes import Indices, Path, ends_of, neighbours, shape_of
from tnlayers.program.program import Arrange, Multiply, Program, Reduce, Step
from tnlayers.program.views import Form, views

_BEAM = 8
_CARRIED = 4  # copies of a state count as so many of a core, which inference lays out once
_MACHINE = Machine()  # the default rates, whatever machine this is: a path means one program everywhere


class _Product(NamedTuple):
    """One way to contract a pair: registers and forms as in `Multiply`, the result's axes, and the seconds it takes."""

    left: tuple[int, Form]
    right: tuple[int, Form]
    sizes: Sizes
    result: Indices
    arithmetic: float
    copied: float


class _Partial(NamedTuple):
    """A program under construction: the products so far, each register's axes, and the seconds that rank it."""

    products: tuple[_Product, ...]
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
    layouts = _Layouts(contraction, ends_of(contraction, start, place, path), len(path), stacked)
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
                seconds = partial.seconds + product.arithmetic + product.copied + _MACHINE.seconds_per_call
                key = (*left, product.result)
                known = best.get(key)
                if known is None or seconds < known.seconds:
                    best[key] = _Partial((*partial.products, product), (*partial.indices, product.result), seconds)
        alive.add(len(start) + number)
        place.append(len(start) + number)
        waiting = [(place[k], readers[k]) for k in range(operands, len(place)) if readers.get(k, 0) > number]
        ranked = sorted(best.values(), key=lambda partial: layouts.expected(partial, waiting))
        beam = ranked[:_BEAM]
    return _finished(contraction, layouts, reduced, beam) if beam else None


def _finished(
    contraction: Contraction, layouts: _Layouts, reduced: tuple[Reduce, ...], beam: Sequence[_Partial]
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


class _Layouts:
    """The ways to carry out the pairs of one path; each is worked out once.

    Attributes:
        contraction: The sizes.
        views: What can be viewed how.
        ends: The number of the pair that sums each index; outputs follow all pairs, in their order.
        pairs: How many pairs there are.
        stacked: As for `assemble`.
    """

    def __init__(self, contraction: Contraction, ends: dict[int, int], pairs: int, stacked: bool) -> None:
        self.contraction = contraction
        self.views = views(contraction)
        self.ends = ends
        self.pairs = pairs
        self.stacked = stacked
        self._products: dict[tuple[int, Indices, Indices], list[_Product]] = {}
        self._ahead: dict[tuple[Indices, int], float] = {}

    def products(self, indices: Sequence[Indices], left: int, right: int, number: int) -> list[_Product]:
        """The ways to contract two registers, which pair `number` does: the fastest for each order of the result."""
        key = (number, indices[left], indices[right])
        found = self._products.get(key)
        if found is None:
            best: dict[Indices, _Product] = {}
            for product in self.choices(indices, left, right, number):
                known = best.get(product.result)
                if known is None or product.arithmetic + product.copied < known.arithmetic + known.copied:
                    best[product.result] = product
            found = self._products[key] = list(best.values())
        return found

    def choices(self, indices: Sequence[Indices], left: int, right: int, number: int) -> Iterator[_Product]:
        """All ways to contract two registers."""
        ends, batch_index, matrix = self.ends, self.contraction.batch, self.views.matrix
        for first, second in ((left, right), (right, left)):
            a, b = indices[first], indices[second]
            batch = tuple([i for i in a if i in b and ends[i] > number])
            rows = tuple([i for i in a if i not in b])
            columns = tuple([i for i in b if i not in a])
            orders = {tuple([i for i in leader if i in a and i in b and ends[i] <= number]): None for leader in (a, b)}
            arranged = {(rows, columns): None}
            if batch_index not in a and batch_index not in b:
                arranged[self.soonest(rows), self.soonest(columns)] = None
            sizes = self.sizes(batch, rows, (*orders,)[0], columns)
            for summed in orders:
                for above, beside in arranged:
                    form_a, form_b = matrix(a, batch, above, summed), matrix(b, batch, summed, beside)
                    yield self.product((first, form_a), (second, form_b), sizes, (*batch, *above, *beside))
            if batch_index in a and batch_index not in b and not batch:
                yield from self.carry(a, b, first, second)

    def soonest(self, axes: Indices) -> Indices:
        """A core's own axes by when they are summed, outputs last.

        Axes that are summed together then stand together: cheap in two small cores, many short stretches in their
        product.
        """
        return tuple(sorted(axes, key=self.ends.__getitem__))

    def carry(self, z: Indices, a: Indices, state: int, core: int) -> Iterator[_Product]:
        """The ways to put a core's axes in the place of a run of neighbouring axes that it contracts."""
        views = self.views
        matrix, decisive = views.matrix, views.decisive
        run = tuple([i for i in z if i in a])
        lasting, present = decisive(run), decisive(z)
        if not lasting or not neighbours(lasting, present):
            return
        at = z.index(lasting[0])
        before = tuple([i for i in z[:at] if i not in run])
        after = tuple([i for i in z[at:] if i not in run])
        sizes = self.sizes(before, (), run, after)
        for new in self.orders(tuple([i for i in a if i not in z])):
            n = views.entries(new)
            if not decisive(after):
                left, right = matrix(z, (), (*before, *after), run), matrix(a, (), run, new)
                flat = (1, sizes[0] * sizes[3], sizes[2], n)
                yield self.product((state, left), (core, right), flat, (*before, *after, *new))
            elif not decisive(before):
                left, right = matrix(a, (), new, run), matrix(z, (), run, (*before, *after))
                flat = (1, n, sizes[2], sizes[0] * sizes[3])
                yield self.product((core, left), (state, right), flat, (*new, *before, *after))
            elif self.stacked:
                left, right = matrix(a, (), new, run), matrix(z, before, run, after)
                above = (sizes[0], n, sizes[2], sizes[3])
                yield self.product((core, left), (state, right), above, (*before, *new, *after))
                left, right = matrix(z, before, after, run), matrix(a, (), run, new)
                beside = (sizes[0], sizes[3], sizes[2], n)
                yield self.product((state, left), (core, right), beside, (*before, *after, *new))

    def orders(self, new: Indices) -> dict[Indices, None]:
        """Orders in which a core's own axes may stand: as they are, and outputs before or after what is summed later.

        What is summed soonest stands at the rim, beside the axes that it is likely to be summed with.
        """
        out = tuple(sorted((i for i in new if self.ends[i] >= self.pairs), key=lambda i: self.ends[i]))
        late = tuple(sorted((i for i in new if self.ends[i] < self.pairs), key=lambda i: -self.ends[i]))
        return dict.fromkeys((new, (*out, *late), (*reversed(late), *out)))

    def product(self, left: tuple[int, Form], right: tuple[int, Form], sizes: Sizes, result: Indices) -> _Product:
        """One way, priced."""
        return _Product(left, right, sizes, result, _MACHINE.product(sizes), self.copy(left[1]) + self.copy(right[1]))

    def expected(self, partial: _Partial, waiting: Sequence[tuple[int, int]]) -> float:
        """The seconds so far, and those of copies that merged cores will need, each waiting for the pair beside it."""
        return partial.seconds + sum([self.ahead(partial.indices[register], reader) for register, reader in waiting])

    def ahead(self, axes: Indices, reader: int) -> float:
        """The seconds of copying merged cores for the pair that reads them, where what it sums stands scattered."""
        found = self._ahead.get((axes, reader))
        if found is None:
            lasting = self.views.decisive(axes)
            summed = [self.ends[i] == reader for i in lasting]
            scattered = sum(a != b for a, b in pairwise(summed)) > 1 and self.contraction.batch not in axes
            last = [i for i, ends in zip(lasting, summed, strict=True) if ends == summed[-1]]
            copied = _MACHINE.copy(self.views.entries(axes), stretch=self.views.stretch(last, lasting))
            found = self._ahead[axes, reader] = copied if scattered else 0.0
        return found

    def flat(self, axes: Indices, output: Indices) -> tuple[Form | None, float]:
        """How a result is put into the order of the output, None where it stands so already, and the seconds of it."""
        form = self.views.flat(axes, output)
        return form, 0.0 if form is None else max(self.copy(form), _MACHINE.seconds_per_call)

    def copy(self, form: Form) -> float:
        """The seconds that a form takes to copy its array, if it does."""
        if not form.copies:
            return 0.0
        carried = _CARRIED if self.contraction.batch in form.axes else 1
        return carried * (
            _MACHINE.copy(self.views.entries(form.axes), stretch=form.stretch) + _MACHINE.seconds_per_call
        )

    def sizes(self, *groups: Indices) -> Sizes:
        """The planned size of each of four groups."""
        a, b, c, d = map(self.views.entries, groups)
        return a, b, c, d
