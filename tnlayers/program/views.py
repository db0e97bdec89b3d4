"""Views: whether an array with some order of axes can be seen as a matrix, or has to be copied for it.

The layout search asks this for thousands of orders and builds few programs, so the answer is a `Form`, of which the
`View` that a step runs is made only where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from tnlayers.declare.graph import Contraction
from tnlayers.machine.rates import STRETCH
from tnlayers.program.axes import Indices, shape_of
from tnlayers.program.program import View

_AS_IT_IS, _PERMUTED, _COPIED = range(3)


class Form(NamedTuple):
    """How an array is to be seen.

    Attributes:
        axes: The array's axes, in memory order.
        groups: The axes of each axis of the form.
        swap: Whether the last two axes of the form are exchanged at the end.
        copies: Whether it takes a copy.
        stretch: Entries that the copy takes at even distances, one after the other.
    """

    axes: Indices
    groups: tuple[Indices, ...]
    swap: bool
    copies: bool
    stretch: int = STRETCH


class Views:
    """What can be viewed how, for the sizes of one contraction; each question is answered once.

    Attributes:
        contraction: The sizes.
        lasting: The axes whose places decide whether a view copies. Axes of size 1 can stand anywhere; the batch is one
            of them even where 1 is planned for: the program runs at other sizes too.
    """

    def __init__(self, contraction: Contraction) -> None:
        self.contraction = contraction
        self.lasting = {i for i, size in enumerate(contraction.sizes) if size > 1 or i == contraction.batch}
        self._large = [size > 1 for size in contraction.sizes]
        self._forms: dict[tuple[Indices, Indices, Indices, Indices], Form] = {}
        self._lasting: dict[Indices, Indices] = {}
        self._places: dict[Indices, dict[int, int]] = {}
        self._entries: dict[Indices, int] = {}

    def entries(self, axes: Indices) -> int:
        """The planned size of a group of axes."""
        found = self._entries.get(axes)
        if found is None:
            sizes = self.contraction.sizes
            found = self._entries[axes] = prod([sizes[i] for i in axes])
        return found

    def matrix(self, axes: Indices, batch: Indices, rows: Indices, columns: Indices) -> Form:
        """See an array as (batch, rows, columns), or as (rows, columns) where there is no batch axis.

        The transposed form (batch, columns, rows) with its last two axes exchanged serves as well; it is taken where it
        needs no permutation and the direct form does.
        """
        key = (axes, batch, rows, columns)
        found = self._forms.get(key)
        if found is None:
            found = self._forms[key] = self._matrix(*key)
        return found

    def _matrix(self, axes: Indices, batch: Indices, rows: Indices, columns: Indices) -> Form:
        stack = (batch,) if batch else ()
        groups, swap = (*stack, rows, columns), False
        way = self._way(axes, groups)
        if way != _AS_IT_IS:
            transposed = (*stack, columns, rows)
            other = self._way(axes, transposed)
            if other == _AS_IT_IS or (way == _COPIED and other != _COPIED):
                groups, swap, way = transposed, True, other
        # A product wants rows or columns side by side in memory. Where the batch is innermost neither is, and BLAS
        # would copy behind the plan's back: copy here, and count it.
        large = self._large
        innermost = next((i for i in reversed(axes) if large[i]), None)
        starved = innermost in batch and any(large[i] for i in (*rows, *columns))
        return self._form(axes, groups, swap, way == _COPIED or starved)

    def flat(self, axes: Indices, wanted: Indices) -> Form | None:
        """See an array as one axis with the entries in another order; None where they stand so already."""
        way = self._way(axes, (wanted,))
        return None if way == _AS_IT_IS else self._form(axes, (wanted,), False, way == _COPIED)

    def _form(self, axes: Indices, groups: tuple[Indices, ...], swap: bool, copies: bool) -> Form:
        stretch = self.stretch([i for group in groups for i in group], axes) if copies else STRETCH
        return Form(axes, groups, swap, copies, stretch)

    def _way(self, axes: Indices, groups: tuple[Indices, ...]) -> int:
        """Whether one axis per group takes nothing, a permutation, or a copy."""
        wanted = groups[0] if len(groups) == 1 else tuple([i for group in groups for i in group])
        if self.decisive(axes) == self.decisive(wanted):
            return _AS_IT_IS
        places = self._placed(axes)
        for group in groups:
            before = -1
            for i in group:
                place = places.get(i, -1)
                if place >= 0:
                    if before >= 0 and place != before + 1:
                        return _COPIED
                    before = place
        return _PERMUTED

    def decisive(self, axes: Indices) -> Indices:
        """The lasting axes among these, in order."""
        found = self._lasting.get(axes)
        if found is None:
            lasting = self.lasting
            found = self._lasting[axes] = tuple([i for i in axes if i in lasting])
        return found

    def _placed(self, axes: Indices) -> dict[int, int]:
        """The places of axes longer than 1."""
        found = self._places.get(axes)
        if found is None:
            found = {i: place for place, i in enumerate([i for i in axes if self._large[i]])}
            self._places[axes] = found
        return found

    def stretch(self, wanted: Sequence[int], axes: Indices) -> int:
        """How many entries at the end of a wanted order stand at even distances in the one of `axes`."""
        places, sizes = self._placed(axes), self.contraction.sizes
        entries, after = 1, -1
        for i in reversed(wanted):
            if self._large[i]:
                place = places[i]
                if after >= 0 and place != after - 1:
                    break
                entries, after = entries * sizes[i], place
        return entries

    def view(self, form: Form) -> View:
        """What a step runs."""
        shape = shape_of(self.contraction, form.groups)
        if self._way(form.axes, form.groups) == _AS_IT_IS:
            return View(None, None, shape, swap=form.swap, copies=form.copies, stretch=STRETCH)
        wanted = [i for group in form.groups for i in group]
        contraction = self.contraction
        every = tuple(-1 if i == contraction.batch else contraction.sizes[i] for i in form.axes)
        order = tuple(form.axes.index(i) for i in wanted)
        large = self._large
        near = [i for i in wanted if large[i]][-1:] == [i for i in form.axes if large[i]][-1:]
        return View(every, order, shape, form.swap, form.copies, self.stretch(wanted, form.axes), near)


@lru_cache(maxsize=32)
def views(contraction: Contraction) -> Views:
    """The views of a contraction, which all its paths ask for."""
    return Views(contraction)
