"""The ways to multiply one pair of a path: which operand is first, the order of the summed axes and of a core's own.

`layout.py` chooses among them for all pairs together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tnlayers.declare.graph import Contraction
from tnlayers.machine.rates import Machine, Sizes
from tnlayers.program.axes import Indices, neighbours
from tnlayers.program.views import Form, views

RATES = Machine()  # the default rates, whatever machine this is: a path means one program everywhere
_STATE_COPIES = 4  # a copy of a state counts as so many of a core, which inference lays out once


class PairProduct(NamedTuple):
    """One way to contract a pair: registers and forms as in `Multiply`, the result's axes, and the seconds it takes."""

    left: tuple[int, Form]
    right: tuple[int, Form]
    sizes: Sizes
    result: Indices
    arithmetic: float
    copied: float


class PairLayouts:
    """The ways to compute the pairs of one path; each is worked out once.

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
        self._products: dict[tuple[int, Indices, Indices], list[PairProduct]] = {}
        self._ahead: dict[tuple[Indices, int], float] = {}

    def products(self, indices: Sequence[Indices], left: int, right: int, number: int) -> list[PairProduct]:
        """The ways to contract two registers, which pair `number` does: the fastest for each order of the result."""
        key = (number, indices[left], indices[right])
        found = self._products.get(key)
        if found is None:
            best: dict[Indices, PairProduct] = {}
            for product in self.choices(indices, left, right, number):
                known = best.get(product.result)
                if known is None or product.arithmetic + product.copied < known.arithmetic + known.copied:
                    best[product.result] = product
            found = self._products[key] = list(best.values())
        return found

    def choices(self, indices: Sequence[Indices], left: int, right: int, number: int) -> Iterator[PairProduct]:
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
                yield from self.in_place(a, b, first, second)

    def soonest(self, axes: Indices) -> Indices:
        """A core's own axes by when they are summed, outputs last.

        Axes that are summed together then stand together: cheap in two small cores, many short stretches in their
        product.
        """
        return tuple(sorted(axes, key=self.ends.__getitem__))

    def in_place(self, z: Indices, a: Indices, state: int, core: int) -> Iterator[PairProduct]:
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

        What is summed soonest is at the end, beside the axes that it is likely to be summed with.
        """
        out = tuple(sorted((i for i in new if self.ends[i] >= self.pairs), key=lambda i: self.ends[i]))
        late = tuple(sorted((i for i in new if self.ends[i] < self.pairs), key=lambda i: -self.ends[i]))
        return dict.fromkeys((new, (*out, *late), (*reversed(late), *out)))

    def product(self, left: tuple[int, Form], right: tuple[int, Form], sizes: Sizes, result: Indices) -> PairProduct:
        """One way, priced."""
        return PairProduct(left, right, sizes, result, RATES.product(sizes), self.copy(left[1]) + self.copy(right[1]))

    def expected(self, indices: Sequence[Indices], waiting: Sequence[tuple[int, int]]) -> float:
        """The seconds of copies that merged cores will need: registers, each with the pair that will read it."""
        return sum([self.ahead(indices[register], reader) for register, reader in waiting])

    def ahead(self, axes: Indices, reader: int) -> float:
        """The seconds of copying merged cores for the pair that reads them, where what it sums is scattered."""
        found = self._ahead.get((axes, reader))
        if found is None:
            lasting = self.views.decisive(axes)
            summed = [self.ends[i] == reader for i in lasting]
            scattered = sum(a != b for a, b in pairwise(summed)) > 1 and self.contraction.batch not in axes
            last = [i for i, ends in zip(lasting, summed, strict=True) if ends == summed[-1]]
            copied = RATES.copy(self.views.entries(axes), stretch=self.views.stretch(last, lasting))
            found = self._ahead[axes, reader] = copied if scattered else 0.0
        return found

    def flat(self, axes: Indices, output: Indices) -> tuple[Form | None, float]:
        """How a result is put into the order of the output, None where it is so already, and the seconds of it."""
        form = self.views.flat(axes, output)
        return form, 0.0 if form is None else max(self.copy(form), RATES.seconds_per_call)

    def copy(self, form: Form) -> float:
        """The seconds that a form takes to copy its array, if it does."""
        if not form.copies:
            return 0.0
        times = _STATE_COPIES if self.contraction.batch in form.axes else 1
        return times * (RATES.copy(self.views.entries(form.axes), stretch=form.stretch) + RATES.seconds_per_call)

    def sizes(self, *groups: Indices) -> Sizes:
        """The planned size of each of four groups."""
        a, b, c, d = map(self.views.entries, groups)
        return a, b, c, d
