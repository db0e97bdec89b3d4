"""Sizes: the values of a network type's size keyword (bond, rank, terms, blocks) that meet a budget or an error.

Where the type takes one size per bond and a bond cuts the network in two, the singular values of the weight at that
bond say what each size costs in error, and one threshold over all bonds divides the budget. Other types get the one
number that fits best.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Literal, TypeAlias

from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError, TNLayersWarning

# What `bond_dim=` takes: one size for all bonds, one for each, or those that stand out of the noise (`cores/vbmf.py`).
BondDim: TypeAlias = int | tuple[int, ...] | Literal["vbmf"]

_EXCHANGES = 20  # rounds
_KEYS = ("bond_dim", "rank", "terms", "blocks")

# The singular values squared of the weight at each bond, descending, in the order of the keyword's entries.
Spectra = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A sized template whose size keyword is still to be chosen.

    Attributes:
        spec: The declaration at any value of the keyword.
        key: The keyword.
        largest: Its largest useful value.
    """

    spec: Spec
    key: str
    largest: int

    @classmethod
    def of(cls, template: str | Spec, in_features: int, out_features: int) -> Scale:
        """The scale of a template at given sizes.

        Raises:
            TNLayersError: If it is a sum, or its type has no size keyword.
        """
        with quiet():
            made = make_spec(template, in_features, out_features)
        if made.terms:
            raise TNLayersError(
                f"{made} is a sum: give its terms sizes. Only a budget of parameters is divided among them: max_params="
                " or ratio= of tnl.decompose and from_linear."
            )
        key = size_keyword(made.network)
        if key is None:
            raise TNLayersError(
                f"The network type {made.network!r} has none of the keywords {', '.join(_KEYS)}, so there is no size "
                "to choose for a budget. Give the spec as it is."
            )
        modes = [m for side in made.modes for m in side]
        largest = gcd(in_features, out_features) if key == "blocks" else prod(modes) // max(modes)
        return cls(spec=replace(made, notes=()), key=key, largest=max(largest, 1))

    @property
    def per_edge(self) -> bool:
        """Whether the keyword takes one size per bond."""
        return self.key in network_type(self.spec.network).per_edge

    def at(self, value: int | tuple[int, ...]) -> Spec:
        """The spec at a value of the keyword.

        Raises:
            TNLayersError: If the type does not take the value.
        """
        given = self.spec.to_dict() | {self.key: value}
        if self.key == "blocks":  # they decide the modes
            given = {key: entry for key, entry in given.items() if key not in ("in_modes", "out_modes")}
        with quiet():
            return make_spec(given, self.spec.in_features, self.spec.out_features)

    def values(self) -> Sequence[int]:
        """The values of one number that the type takes, from the fewest parameters to the most."""
        if self.key != "blocks":
            return range(1, self.largest + 1)
        divisors = [v for v in range(1, self.largest + 1) if self.largest % v == 0]
        return sorted(divisors, key=lambda blocks: self.at(blocks).parameters)


def size_keyword(network: str) -> str | None:
    """The keyword that says how large a network type is; None for a type without.

    Example:
        >>> size_keyword("mpo"), size_keyword("blast"), size_keyword("monarch")
        ('bond_dim', 'rank', 'blocks')
    """
    return next((key for key in _KEYS if key in network_type(network).keywords), None)


def largest_within(scale: Scale, limit: int) -> Spec:
    """The spec with one number for all bonds and the most parameters that a budget allows.

    Raises:
        TNLayersError: If even the smallest value has more; the message says how many.
    """
    values, count = _within(scale, limit)
    if count == 0:
        least = scale.at(values[0])
        raise TNLayersError(
            f"{least} is the smallest {scale.spec.network} for {least.in_features} -> {least.out_features} and has "
            f"{least.parameters} parameters; {limit} were allowed. Allow more, or take more cores or another type."
        )
    return scale.at(values[count - 1])


def next_above(scale: Scale, limit: int) -> Spec | None:
    """The spec with one number for all bonds and the fewest parameters above a budget; None where there is none."""
    values, count = _within(scale, limit)
    return scale.at(values[count]) if count < len(values) else None


def nearest(scale: Scale, wanted: int) -> Spec:
    """The spec with one number for all bonds and a count of parameters as near to the wanted one as there is.

    Example:
        >>> nearest(Scale.of("ring", 16, 16), 110).parameters, nearest(Scale.of("ring", 16, 16), 100).parameters
        (144, 64)
    """
    values, count = _within(scale, wanted)
    around = [scale.at(value) for value in values[max(0, count - 1) : count + 1]]
    return min(around, key=lambda spec: abs(spec.parameters - wanted))


def _within(scale: Scale, limit: int) -> tuple[Sequence[int], int]:
    """The values of one number, and how many of them stay within a budget."""
    values = scale.values()
    # Parameters do not fall from one value to the next, and stay where a larger value would only be clipped.
    return values, bisect_right(values, limit, key=lambda value: scale.at(value).parameters)


def divided(scale: Scale, spectra: Spectra, fits: Callable[[Spec], bool]) -> Spec | None:
    """One size per bond: the lowest common threshold on singular values at which the spec still fits a budget.

    Then single bonds grow, the one that gains most first, until none fits; and some shrink where others gain more.

    Args:
        scale: A type that takes one size per bond.
        spectra: Squared singular values, one list per bond.
        fits: Whether a spec is within the budget; true for fewer parameters wherever it is true.

    Returns:
        The spec, or None where not even bonds of 1 fit.
    """
    levels = sorted({0.0, *(value for values in spectra for value in values)}, reverse=True)
    low, high = 0, len(levels)  # the number of levels that are surely kept, and surely not
    if not fits(scale.at(bonds_above(spectra, levels[0]))):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(scale.at(bonds_above(spectra, levels[middle]))) else (low, middle)
    return _exchanged(scale, spectra, _filled(scale, spectra, bonds_above(spectra, levels[low]), fits), fits)


def _filled(scale: Scale, spectra: Spectra, bonds: tuple[int, ...], fits: Callable[[Spec], bool]) -> tuple[int, ...]:
    """Bonds grown one by one, the one that gains most first, until none fits."""
    found, growing = scale.at(bonds), True
    while growing:
        growing = False
        for k in sorted(range(len(bonds)), key=lambda k: _next(spectra[k], bonds[k]), reverse=True):
            more = (*bonds[:k], bonds[k] + 1, *bonds[k + 1 :])
            if bonds[k] < len(spectra[k]) and fits(wider := scale.at(more)) and wider.parameters > found.parameters:
                bonds, found, growing = more, wider, True
                break
    return bonds


def _exchanged(scale: Scale, spectra: Spectra, bonds: tuple[int, ...], fits: Callable[[Spec], bool]) -> Spec:
    """Bonds of which some shrink for others to grow, for as long as that keeps more of the weight.

    One value of a bond costs what all bonds at its cores multiply to, so a common threshold alone can be far off.
    """
    for _ in range(_EXCHANGES):
        better = max(
            (_filled(scale, spectra, start, fits) for start in _shrunk(scale, spectra, bonds, fits)),
            key=lambda found: _retained(spectra, found),
            default=bonds,
        )
        if _retained(spectra, better) <= _retained(spectra, bonds) * (1 + 1e-9):
            break
        bonds = better
    return scale.at(bonds)


def _retained(spectra: Spectra, bonds: Sequence[int]) -> float:
    """The share of the weight that all cuts keep if each takes its share of what the others leave."""
    shares = (sum(values[:bond]) / (sum(values) or 1.0) for values, bond in zip(spectra, bonds, strict=True))
    return prod(shares)


def _shrunk(
    scale: Scale, spectra: Spectra, bonds: tuple[int, ...], fits: Callable[[Spec], bool]
) -> Iterator[tuple[int, ...]]:
    """Bonds of which one is less by 1, 2, 4, ..., and another as much larger as then fits."""
    for k, bond in enumerate(bonds):
        for less in (2**power for power in range((bond - 1).bit_length()) if 2**power < bond):
            for j in range(len(bonds)):
                start = [*bonds]
                start[k] -= less
                start[j] += 1
                if j != k and start[j] <= len(spectra[j]) and fits(scale.at(tuple(start))):
                    yield tuple(start)


def bonds_above(spectra: Spectra, level: float) -> tuple[int, ...]:
    """At each bond the number of squared singular values above a level, at least 1.

    Example:
        >>> bonds_above([[9.0, 4.0, 1.0], [16.0, 0.5]], 0.9)
        (3, 1)
    """
    return tuple(max(1, sum(value > level for value in values)) for values in spectra)


def tails(spectra: Spectra, bonds: Sequence[int]) -> float:
    """The sum over bonds of the squared singular values that are cut: no less than the squared error of the result."""
    return sum(sum(values[bond:]) for values, bond in zip(spectra, bonds, strict=True))


def least_for(spectra: Spectra, allowed: float) -> tuple[int, ...]:
    """The bonds at the highest common threshold whose tails stay within an allowed squared error."""
    levels = sorted({0.0, *(value for values in spectra for value in values)})
    low, high = 0, len(levels)
    while high - low > 1:
        middle = (low + high) // 2
        within = tails(spectra, bonds_above(spectra, levels[middle])) <= allowed
        low, high = (middle, high) if within else (low, middle)
    return bonds_above(spectra, levels[low])


def _next(values: Sequence[float], bond: int) -> float:
    return values[bond] if bond < len(values) else 0.0


@contextmanager
def quiet() -> Iterator[None]:
    """Trial values are clipped and padded without a word; what is delivered is reported once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        yield
