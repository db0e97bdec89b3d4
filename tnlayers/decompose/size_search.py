"""Budgets and errors: which size of a network type meets what was asked of a target."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from typing import Literal, TypeAlias

from tnlayers.cores.canonical import loop_free
from tnlayers.cores.vbmf import kept_values
from tnlayers.declare.spec import Spec
from tnlayers.decompose.fewest import first_possible, generic, least_exact
from tnlayers.decompose.sizes import Scale, divided, largest_within, least_for, next_above
from tnlayers.decompose.starts import openings, tree_spectra
from tnlayers.decompose.target import Fitted, Target
from tnlayers.errors import TNLayersError, TNLayersWarning

ErrorOf: TypeAlias = Literal["weight", "output"]
Found: TypeAlias = tuple[Spec, Fitted]

_NEAR = 0.98  # a delivered size below this share of what was asked is reported
_WORTH = 2  # dense weights: a network with more parameters is fitted for no error,
_FEW = 2**14  # unless it has few all the same
_MOST = 2**26  # parameters of a closed form that is tried
_OPENINGS = 8  # trees inside a network that are tried
_TIGHTENINGS = 6  # tries to need fewer parameters than the bound on the error asks for


def within_budget(target: Target, scale: Scale, limit: int, asked: str, *, strict: bool) -> Spec:
    """The best use of at most `limit` parameters.

    Raises:
        TNLayersError: If even the smallest size has more, or `strict` and the budget is met only from far below.
    """
    found = best_within(target, scale, limit)
    if found.parameters < _NEAR * min(limit, scale.at(scale.values()[-1]).parameters):
        _report_gap(scale, found, limit, asked, strict)
    return found


def best_within(target: Target, scale: Scale, limit: int) -> Spec:
    """The size of at most `limit` parameters that keeps most of the weight, however far below the limit it is.

    Raises:
        TNLayersError: If even the smallest size has more.
    """
    found = largest_within(scale, limit)
    if (values := _spectra(target, scale, outputs=True)) is not None:
        found = divided(scale, values, partial(_within, limit)) or found
    return found


def standing_out(target: Target, scale: Scale) -> Spec:
    """The size at which every bond keeps the singular values that stand out of the weight's noise (`cores/vbmf.py`).

    Raises:
        TNLayersError: If the network has bonds without singular values: loops, hyperedges or structural zeros.
    """
    narrow = scale.at(1)
    spectra = target.spectra(narrow, outputs=False)
    if spectra is None:
        raise TNLayersError(
            f"bond_dim='vbmf' reads the singular values at every bond, and {narrow} has loops, hyperedges, structural "
            "zeros or no bond at all. Take mpo, tree, tucker, lowrank or kronecker, or give a size."
        )
    entries = prod(narrow.graph.in_modes) * prod(narrow.graph.out_modes)
    ranks = {index: kept_values(values, len(values), entries // len(values)) for index, values in spectra.items()}
    if scale.per_edge:
        return scale.at(tuple(ranks[index] for index in narrow.graph.summed))
    return scale.at(max(ranks.values()))


def bound_on(target: Target, spec: Spec) -> float:
    """A number to rank specs of one target by: the sum of the tails that its bonds cut, else the measured error."""
    values = target.spectra(spec, outputs=True)
    if values is None:
        return target.measure(target.fitted(spec)) ** 2 * target.square
    return sum(sum(tail[spec.graph.sizes[index] :]) for index, tail in values.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """An error that must not be exceeded.

    Attributes:
        target: Of what.
        scale: The network type whose size is to be chosen.
        error: The largest error allowed; 0 means exact to the rounding of the dtype (`Target.rounding`).
        of: Whether of the "weight" or of the "output".
    """

    target: Target
    scale: Scale
    error: float
    of: ErrorOf

    def met(self) -> Found:
        """The fewest parameters within the bound.

        Raises:
            TNLayersError: If no size that is worth trying is within it.
        """
        values = _spectra(self.target, self.scale, outputs=self.of == "output")
        return self._least() if values is None else self._tightened(values)

    @property
    def allowed(self) -> float:
        """The largest error that is met: no less than rounding, of which singular values are not worth parameters."""
        return max(self.error, self.target.rounding)

    def _tried(self, spec: Spec) -> Found:
        return spec, self.target.fitted(spec)

    def _measured(self, found: Found) -> float:
        fitted = found[1]
        return fitted.output_error if self.of == "output" and fitted.output_error is not None else fitted.error

    def _least(self) -> Found:
        """The first size, from few parameters to many, whose error is small enough, as far as fits find it.

        Raises:
            TNLayersError: If none is that is worth trying.
        """
        values, place = self.scale.values(), 0
        if self.of == "weight":
            place = first_possible(self.target, self.scale, values, self.allowed)
        last = self._worth(values)
        if self.target.exact and not loop_free(self.scale.at(values[-1]).graph):
            closed = self._closed(values[place:])
            known = self._of_closed(values[place + closed]) if closed is not None else None
            between = values[place : min(last + 1, len(values) if closed is None else place + closed)]
            expected = generic(self.scale, between) if between else 0
            found = least_exact(between, expected, known, self._within)
        else:
            found = self._doubled(values[place : last + 1])
        found = min(filter(None, (found, self._of_tree())), key=lambda one: one[0].parameters, default=None)
        if found is None:
            raise self._refusal(values, last)
        return found

    def _worth(self, values: Sequence[int]) -> int:
        """The place of the last value that is worth a fit: SVDs take no longer for large values, other fits do."""
        if loop_free(self.scale.at(values[-1]).graph):
            return len(values) - 1
        worth = max(_WORTH * self.scale.spec.dense_parameters, _FEW)
        return max(bisect_right(values, worth, key=lambda value: self.scale.at(value).parameters) - 1, 0)

    def _doubled(self, values: Sequence[int]) -> Found | None:
        """The first of the values that is within the error, by doubling, then halving: large values are costly."""
        low, high = -1, 0
        if not values:
            return None
        while (best := self._within(values[high])) is None:
            if high == len(values) - 1:
                return None
            low, high = high, min(2 * high + 1, len(values) - 1)
        while high - low > 1:
            middle = (low + high) // 2
            tried = self._within(values[middle])
            low, high, best = (low, middle, tried) if tried is not None else (middle, high, best)
        return best

    def _within(self, value: int) -> Found | None:
        found = self._tried(self.scale.at(value))
        return found if self._measured(found) <= self.allowed else None

    def _closed(self, values: Sequence[int]) -> int | None:
        """The place of the first value at which a closed form is within the error; None where none is."""
        low, high = -1, 0
        while self._of_closed(values[high]) is None:
            if high == len(values) - 1 or self.scale.at(values[high]).parameters > _MOST:
                return None
            low, high = high, min(2 * high + 1, len(values) - 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._of_closed(values[middle]) is None else (low, middle)
        return high

    def _of_closed(self, value: int) -> Found | None:
        spec = self.scale.at(value)
        found = self.target.constructed(spec)
        return None if found is None or self._measured((spec, found)) > self.allowed else (spec, found)

    def _of_tree(self) -> Found | None:
        """A network with loops as a tree inside it, each bond as wide as it has to be; None where that cannot be."""
        if not self.scale.per_edge or self.of == "output":
            return None
        narrow = self.scale.at(1)
        if loop_free(narrow.graph):
            return None
        tried = (self._of_opening(narrow, opening) for opening, _ in islice(openings(narrow.graph), _OPENINGS))
        return min(filter(None, tried), key=lambda one: one[0].parameters, default=None)

    def _of_opening(self, narrow: Spec, opening: Sequence[int]) -> Found | None:
        found = tree_spectra(self.target.ops, narrow.graph, self.target.padded(narrow), opening)
        narrowed = [index for index in narrow.graph.summed if index not in opening]
        values = [[float(value) ** 2 for value in found[index]] for index in narrowed]
        bonds = dict(zip(narrowed, least_for(values, self.allowed**2 * self.target.square), strict=True))
        spec = self.scale.at(tuple(bonds.get(index, 1) for index in narrow.graph.summed))
        tried = self.target.constructed(spec, opening)
        return None if tried is None or self._measured((spec, tried)) > self.allowed else (spec, tried)

    def _refusal(self, values: Sequence[int], last: int) -> TNLayersError:
        best = self._tried(self.scale.at(values[last]))
        larger = "there is no larger one" if last == len(values) - 1 else "larger ones are not worth trying"
        return TNLayersError(
            f"{best[0]} has a relative error of {self._measured(best):.4g} with {best[0].parameters} parameters, where "
            f"the dense weight has {self.scale.spec.dense_parameters}; {self.error:.4g} was asked, and {larger}. Take "
            "a universal type such as mpo, more restarts= or sweeps=, or allow more."
        )

    def _tightened(self, values: list[list[float]]) -> Found:
        """Bonds by the bound on the error; then as much of the bound's slack as the measured error leaves."""
        total = sum(values[0])  # of all squared singular values, at any bond

        def at(share: float) -> Spec:
            return self.scale.at(least_for(values, share * self.allowed**2 * total))

        best = self._tried(at(1.0))
        low, high = 1.0, float(len(values))  # the bound adds up the bonds' tails: that much too large at most
        if best[1].discarded is None:  # fitted, perhaps in coordinates that are not quite white: no bound either way
            low, high, best = self._bracketed(at, best, len(values) / self.allowed**2)
        for _ in range(_TIGHTENINGS):
            middle = (low * high) ** 0.5
            spec = at(middle)
            tried = best if spec == best[0] else self._tried(spec)
            if self._measured(tried) <= self.allowed:
                low, best = middle, min(best, tried, key=lambda found: found[0].parameters)
            else:
                high = middle
        return self._fewer(values, best)

    def _fewer(self, values: list[list[float]], best: Found) -> Found:
        """The least budget whose best division is within the error: bonds by a threshold are not the last word."""
        low, high = best[0].parameters // 2, best[0].parameters
        for _ in range(_TIGHTENINGS):
            middle = (low + high) // 2
            spec = divided(self.scale, values, partial(_within, middle))
            if spec is not None and self._measured(tried := self._tried(spec)) <= self.allowed:
                best, high = tried, tried[0].parameters
            else:
                low = middle
        return best

    def _bracketed(self, at: Callable[[float], Spec], found: Found, largest: float) -> tuple[float, float, Found]:
        """A share of the allowed tails that meets the error, with what it gives, and one that does not."""
        low, high = 1.0, 4.0
        while self._measured(found) > self.allowed:
            if low < 1e-12:
                raise TNLayersError(
                    f"{found[0]} has a relative {self.of} error of {self._measured(found):.4g} at full bonds; "
                    f"{self.error:.4g} was asked, which is below rounding. Allow more."
                )
            low, high = low / 4, low
            found = self._tried(at(low))
        while low < largest and high > low and self._measured(tried := self._tried(at(high))) <= self.allowed:
            low, high, found = high, high * 4, min(found, tried, key=lambda one: one[0].parameters)
        return low, high, found


def _within(limit: int, spec: Spec) -> bool:
    return spec.parameters <= limit


def _spectra(target: Target, scale: Scale, *, outputs: bool) -> list[list[float]] | None:
    """Squared singular values per entry of the size keyword; None where the type or its graph has none."""
    if not scale.per_edge:
        return None
    narrow = scale.at(1)
    found = target.spectra(narrow, outputs=outputs)
    return None if found is None else [found[index] for index in narrow.graph.summed]


def _report_gap(scale: Scale, found: Spec, limit: int, asked: str, strict: bool) -> None:
    larger = next_above(scale, limit)
    above = f"; the next larger is {larger} with {larger.parameters}" if larger else ""
    message = (
        f"{asked} allows {limit} parameters; the nearest below is {found} with {found.parameters} "
        f"({found.parameters / limit:.3f} of that){above}."
    )
    if strict:
        raise TNLayersError(f"{message} Ask for one of these, or leave strict=True out.")
    warnings.warn(message, TNLayersWarning, stacklevel=4)
