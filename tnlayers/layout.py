"""Layouts: turn a contraction path into a program whose operands need as few copies as possible.

The result of a matrix product has its axes in the order (batch, rows, columns). Exchanging the operands exchanges rows
and columns, and the summed axes may follow either operand's order. Where the axes that a core contracts lie side by
side in the array that carries the batch, the core's own axes can also take their place in the middle, in any order,
since the small core is laid out as the step wants: (before, run, after) -> (before, new, after). These choices decide
whether the next step can view the result as a matrix or has to copy it. A beam search over the steps keeps the few
partial programs of the least estimated time so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product

from tnlayers.axes import Indices, Path, ends_of, neighbours, shape_of
from tnlayers.lower import Contraction, repeated
from tnlayers.machine import Machine
from tnlayers.program import Arrange, Multiply, Program, Reduce, Step, View

_BEAM = 8
_CARRIED = 4  # copies of a state count as so many of a core, which inference lays out once
_MACHINE = Machine()  # the default rates, whatever machine this is: a path means one program everywhere


@dataclass(frozen=True, slots=True)
class _Partial:
    """A program under construction: the steps so far, each register's axes, and the seconds that rank it."""

    steps: tuple[Step, ...]
    indices: tuple[Indices, ...]
    seconds: float


@lru_cache(maxsize=1024)
def assemble(contraction: Contraction, path: Path) -> Program:
    """Lower a path to a program.

    Args:
        contraction: What to compute.
        path: Pairs of registers to contract; operand `k` is register `k`, each pair makes the next register.

    Returns:
        The program of the least estimated time that the beam search finds.
    """
    start, operands = _reduce_operands(contraction), len(contraction.operands)
    # Where an operand went after its reduction; the pairs of `path` count operands and pairs only.
    place = list(range(len(contraction.operands)))
    for number, step in enumerate(start.steps):
        place[step.registers[0]] = len(contraction.operands) + number
    beam = [start]
    layouts = _Layouts(contraction, ends_of(contraction, start.indices, place, path), len(path))
    alive = set(place)
    readers = {register: number for number, pair in enumerate(path) for register in pair}
    for number, (a, b) in enumerate(path):
        alive = (alive - {place[a], place[b]}) | {len(beam[0].indices)}
        best: dict[tuple[Indices, ...], _Partial] = {}  # what follows depends on the axes of what is left alone
        for partial in beam:
            for longer in layouts.choices(partial, place[a], place[b], number):
                left = tuple(longer.indices[k] for k in alive)
                known = best.get(left)
                if known is None or longer.seconds < known.seconds:
                    best[left] = longer
        place.append(len(start.indices) + number)
        waiting = [(place[k], readers[k]) for k in range(operands, len(place)) if readers.get(k, 0) > number]
        beam = sorted(best.values(), key=lambda partial: layouts.expected(partial, waiting))[:_BEAM]
    finished = min(map(layouts.arrange, beam), key=lambda partial: partial.seconds)
    shape = shape_of(contraction, [(i,) for i in contraction.output])
    return Program(operands, finished.steps, finished.indices, shape)


def _reduce_operands(contraction: Contraction) -> _Partial:
    """One step for each operand with repeated axes or with axes that nothing else has."""
    partial = _Partial((), contraction.operands, 0.0)
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
            step = Reduce(register, shape, tuple(diagonals), gone, elements)
            partial = replace(partial, steps=(*partial.steps, step), indices=(*partial.indices, left))
    return partial


class _Layouts:
    """The ways to carry out the pairs of one path; each view is worked out once.

    Attributes:
        contraction: The sizes.
        ends: The number of the pair that sums each index; outputs follow all pairs, in their order.
        pairs: How many pairs there are.
        lasting: The axes whose places decide whether a view copies.
    """

    def __init__(self, contraction: Contraction, ends: dict[int, int], pairs: int) -> None:
        self.contraction = contraction
        self.ends = ends
        self.pairs = pairs
        # Axes of size 1 can stand anywhere; all others decide. The batch is one of them even where 1 is planned for:
        # the program runs at other sizes too.
        self.lasting = {i for i, size in enumerate(contraction.sizes) if size > 1 or i == contraction.batch}
        self._matrices: dict[tuple[Indices, Indices, Indices, Indices], View] = {}
        self._entries: dict[Indices, int] = {}
        self._ahead: dict[tuple[Indices, int], float] = {}

    def choices(self, partial: _Partial, left: int, right: int, number: int) -> Iterator[_Partial]:
        """The ways to contract two registers, which pair `number` does."""
        kept = {i for i, end in self.ends.items() if end > number}
        batch_index = self.contraction.batch
        for first, second in ((left, right), (right, left)):
            a, b = partial.indices[first], partial.indices[second]
            batch = tuple(i for i in a if i in b and i in kept)
            rows = tuple(i for i in a if i not in b)
            columns = tuple(i for i in b if i not in a)
            orders = {tuple(i for i in leader if i in a and i in b and i not in kept): None for leader in (a, b)}
            arranged = {(rows, columns): None}
            if batch_index not in a and batch_index not in b:
                arranged[self.soonest(rows), self.soonest(columns)] = None
            sizes = self.sizes(batch, rows, (*orders,)[0], columns)
            for summed, (above, beside) in product(orders, arranged):
                view_a, view_b = self.matrix(a, batch, above, summed), self.matrix(b, batch, summed, beside)
                step = Multiply((first, view_a), (second, view_b), sizes)
                yield self.grow(partial, step, a, b, (*batch, *above, *beside))
            if batch_index in a and batch_index not in b and not batch:
                yield from self.carry(partial, first, second)

    def soonest(self, axes: Indices) -> Indices:
        """A core's own axes by when they are summed, outputs last.

        Axes that are summed together then stand together: cheap in two small cores, many short stretches in their
        product.
        """
        return tuple(sorted(axes, key=self.ends.__getitem__))

    def carry(self, partial: _Partial, state: int, core: int) -> Iterator[_Partial]:
        """The ways to put a core's axes in the place of a run of neighbouring axes that it contracts."""
        z, a = partial.indices[state], partial.indices[core]
        run = tuple(i for i in z if i in a)
        lasting, present = [i for i in run if i in self.lasting], [i for i in z if i in self.lasting]
        if not lasting or not neighbours(lasting, present):
            return
        at = z.index(lasting[0])
        before = tuple(i for i in z[:at] if i not in run)
        after = tuple(i for i in z[at:] if i not in run)
        sizes = self.sizes(before, (), run, after)
        for new in self.orders(tuple(i for i in a if i not in z)):
            n = self.entries(new)
            if not any(i in self.lasting for i in after):
                views = self.matrix(z, (), (*before, *after), run), self.matrix(a, (), run, new)
                step = Multiply((state, views[0]), (core, views[1]), (1, sizes[0] * sizes[3], sizes[2], n))
                yield self.grow(partial, step, z, a, (*before, *after, *new))
            elif not any(i in self.lasting for i in before):
                views = self.matrix(a, (), new, run), self.matrix(z, (), run, (*before, *after))
                step = Multiply((core, views[0]), (state, views[1]), (1, n, sizes[2], sizes[0] * sizes[3]))
                yield self.grow(partial, step, a, z, (*new, *before, *after))
            else:
                views = self.matrix(a, (), new, run), self.matrix(z, before, run, after)
                step = Multiply((core, views[0]), (state, views[1]), (sizes[0], n, sizes[2], sizes[3]))
                yield self.grow(partial, step, a, z, (*before, *new, *after))
                views = self.matrix(z, before, after, run), self.matrix(a, (), run, new)
                step = Multiply((state, views[0]), (core, views[1]), (sizes[0], sizes[3], sizes[2], n))
                yield self.grow(partial, step, z, a, (*before, *after, *new))

    def orders(self, new: Indices) -> dict[Indices, None]:
        """Orders in which a core's own axes may stand: as they are, and outputs before or after what is summed later.

        What is summed soonest stands at the rim, beside the axes that it is likely to be summed with.
        """
        out = tuple(sorted((i for i in new if self.ends[i] >= self.pairs), key=lambda i: self.ends[i]))
        late = tuple(sorted((i for i in new if self.ends[i] < self.pairs), key=lambda i: -self.ends[i]))
        return dict.fromkeys((new, (*out, *late), (*reversed(late), *out)))

    def grow(self, partial: _Partial, step: Multiply, left: Indices, right: Indices, result: Indices) -> _Partial:
        """The partial program with one more product."""
        pairs = ((left, step.left[1]), (right, step.right[1]))
        copied = sum(self.copy(axes, view) for axes, view in pairs)
        seconds = partial.seconds + _MACHINE.product(step.sizes) + copied + _MACHINE.seconds_per_call
        return _Partial((*partial.steps, step), (*partial.indices, result), seconds)

    def expected(self, partial: _Partial, waiting: Sequence[tuple[int, int]]) -> float:
        """The seconds so far, and those of copies that merged cores will need, each waiting for the pair beside it."""
        return partial.seconds + sum(self.ahead(partial.indices[register], reader) for register, reader in waiting)

    def ahead(self, axes: Indices, reader: int) -> float:
        """The seconds of copying merged cores for the pair that reads them, where what it sums stands scattered."""
        key = (axes, reader)
        if key not in self._ahead:
            lasting = [i for i in axes if i in self.lasting]
            summed = [self.ends[i] == reader for i in lasting]
            scattered = sum(a != b for a, b in pairwise(summed)) > 1 and self.contraction.batch not in axes
            last = [i for i, ends in zip(lasting, summed, strict=True) if ends == summed[-1]]
            entries = self.contraction.elements(axes)
            self._ahead[key] = _MACHINE.copy(entries, stretch=self.stretch(last, lasting)) if scattered else 0.0
        return self._ahead[key]

    def arrange(self, partial: _Partial) -> _Partial:
        """Add the step that puts the entries into the order of the output, if they do not stand so already."""
        output = self.contraction.output
        register = len(partial.indices) - 1 if partial.steps else 0
        view = self.view(partial.indices[register], [output])
        if view.order is None:
            return partial
        seconds = partial.seconds + self.copy(output, view)
        return _Partial((*partial.steps, Arrange(register, view)), (*partial.indices, output), seconds)

    def copy(self, axes: Indices, view: View) -> float:
        """The seconds that a view takes to copy an array with these axes, if it does."""
        if not view.copies:
            return 0.0
        carried = _CARRIED if self.contraction.batch in axes else 1
        copied = _MACHINE.copy(self.entries(axes), stretch=view.stretch)
        return carried * (copied + _MACHINE.seconds_per_call)

    def matrix(self, axes: Indices, batch: Indices, rows: Indices, columns: Indices) -> View:
        """View an array as (batch, rows, columns), or as (rows, columns) where there is no batch axis.

        The transposed form (batch, columns, rows) with its last two axes exchanged serves as well; it is taken where it
        needs no permutation and the direct form does.
        """
        key = (axes, batch, rows, columns)
        if key not in self._matrices:
            self._matrices[key] = self._matrix(*key)
        return self._matrices[key]

    def _matrix(self, axes: Indices, batch: Indices, rows: Indices, columns: Indices) -> View:
        stack = [batch] if batch else []
        direct = self.view(axes, [*stack, rows, columns])
        if direct.order is not None:
            transposed = self.view(axes, [*stack, columns, rows])
            if transposed.order is None or (direct.copies and not transposed.copies):
                direct = replace(transposed, swap=True)
        # A product wants rows or columns side by side in memory. Where the batch is innermost neither is, and BLAS
        # would copy behind the plan's back: copy here, and count it.
        present = [i for i in axes if self.contraction.sizes[i] > 1]
        if present and present[-1] in batch and any(self.contraction.sizes[i] > 1 for i in (*rows, *columns)):
            return replace(direct, copies=True)
        return direct

    def view(self, axes: Indices, groups: Sequence[Indices]) -> View:
        """View an array with these axes as one axis per group, permuting where the order differs."""
        wanted = [i for group in groups for i in group]
        shape = shape_of(self.contraction, groups)
        if [i for i in axes if i in self.lasting] == [i for i in wanted if i in self.lasting]:
            return View(None, None, shape)
        present = [i for i in axes if self.contraction.sizes[i] > 1]
        order = tuple(axes.index(i) for i in wanted)
        copies = any(not neighbours([i for i in group if self.contraction.sizes[i] > 1], present) for group in groups)
        every = tuple(-1 if i == self.contraction.batch else self.contraction.sizes[i] for i in axes)
        return View(every, order, shape, copies=copies, stretch=self.stretch(wanted, present))

    def stretch(self, wanted: Sequence[int], present: Sequence[int]) -> int:
        """How many entries at the end of the wanted order stand at even distances in the present one."""
        last = [i for i in wanted if self.contraction.sizes[i] > 1]
        run = last[-1:]
        while len(run) < len(last) and neighbours(last[-len(run) - 1 :], present):
            run = last[-len(run) - 1 :]
        return self.contraction.elements(run)

    def sizes(self, *groups: Indices) -> tuple[int, int, int, int]:
        """The planned size of each of four groups."""
        a, b, c, d = map(self.entries, groups)
        return a, b, c, d

    def entries(self, axes: Indices) -> int:
        """The planned size of a group of axes; asked for the same few groups thousands of times."""
        found = self._entries.get(axes)
        if found is None:
            found = self._entries[axes] = self.contraction.elements(axes)
        return found
