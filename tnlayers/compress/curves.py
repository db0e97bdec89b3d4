"""Curves: what each size of a network type costs in parameters and leaves in error, for one weight.

Where the network has no loops, the singular values at its bonds tell all of a curve at once: no size is fitted, except
two where a sample's inputs are white only core by core, so that singular values show too much error. Other types are
fitted at a few sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import TypeVar

import numpy as np

from tnlayers.compress.allocation import Option
from tnlayers.declare.spec import Spec
from tnlayers.decompose.sizes import Scale, Spectra, bonds_above, divided, tails
from tnlayers.decompose.target import Target

_T = TypeVar("_T")
_POINTS = 96  # of a curve known from singular values
_FITTED_POINTS = 6  # of one where each point is a fit
_MEASURED = 0.1  # share of the dense weight's parameters at which a bound is compared with a fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The sizes of one network type for one weight.

    Attributes:
        scale: The type.
        spectra: Squared singular values by bond; None where there are none.
        options: Sizes with fewer parameters than the dense weight, costs in parameters, losses relative to ||W||^2.
    """

    scale: Scale
    spectra: Spectra | None
    options: tuple[Option, ...]

    def within(self, chosen: Spec, limit: int) -> Spec:
        """A chosen size grown as far as a limit on its parameters allows."""
        if self.spectra is None or not self.scale.per_edge:
            return chosen
        wider = divided(self.scale, self.spectra, lambda spec: spec.parameters <= limit)
        return chosen if wider is None or wider.parameters < chosen.parameters else wider


def curve(target: Target, scale: Scale, *, bounds: bool = False) -> Curve:
    """The curve of a network type for a weight, from a few parameters to just below the dense weight's.

    Args:
        target: The weight.
        scale: The type.
        bounds: Whether losses must not be below those of fits; else they are as close to these as is known.
    """
    spectra = _spectra(target, scale)
    dense = target.in_features * target.out_features
    values = _thresholds(spectra) if spectra is not None and scale.per_edge else _numbers(scale, spectra, dense)
    options: dict[int, Option] = {}
    for value in values:
        spec = scale.at(value)
        if spec.parameters >= dense:
            break  # values rise, and parameters with them
        loss = _loss(target, spec, spectra, value)
        known = options.get(spec.parameters)
        if known is None or loss < known.loss:
            options[spec.parameters] = Option(spec=spec, parameters=spec.parameters, cost=spec.parameters, loss=loss)
    found = tuple(options.values())
    if not bounds and spectra is not None and found and not target.is_white(scale.at(values[0])):
        found = _corrected(target, found, round(_MEASURED * dense))
    return Curve(scale=scale, spectra=spectra, options=found)


def _corrected(target: Target, options: Sequence[Option], size: int) -> tuple[Option, ...]:
    """Losses that are bounds, times what fits of the smallest option and of one near a size have of theirs.

    The share falls slowly with size, and differs several times between layers, which is what an allocation sees.
    """
    near = min(options, key=lambda option: abs(option.parameters - size))
    sizes, shares = [], []
    for option in {one.parameters: one for one in (options[0], near)}.values():
        assert option.spec is not None
        if option.loss > 0 and (measured := target.measure(target.fitted(option.spec))) > 0:
            sizes.append(log(option.parameters))
            shares.append(2 * log(measured) - log(option.loss))
    if not sizes:
        return tuple(options)
    return tuple(
        replace(one, loss=one.loss * exp(float(np.interp(log(one.parameters), sizes, shares)))) for one in options
    )


def _spectra(target: Target, scale: Scale) -> Spectra | None:
    narrow = scale.at(scale.values()[0])
    found = target.spectra(narrow, outputs=True)
    return None if found is None else [found[index] for index in narrow.graph.summed]


def _thresholds(spectra: Spectra) -> list[tuple[int, ...]]:
    """Bonds by a common threshold on singular values, from the smallest on."""
    levels = sorted({0.0, *(value for values in spectra for value in values)}, reverse=True)
    return list(dict.fromkeys(bonds_above(spectra, level) for level in _spread(levels, _POINTS)))


def _numbers(scale: Scale, spectra: Spectra | None, dense: int) -> list[int]:
    """Single numbers that stay below the dense weight, close to each other where they are small."""
    values = scale.values()
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if scale.at(values[middle]).parameters < dense else (low, middle)
    return _spread(values[:low], _FITTED_POINTS if spectra is None else _POINTS)


def _spread(values: Sequence[_T], count: int) -> list[_T]:
    """At most so many of the values, in order: the places grow geometrically."""
    if len(values) <= count:
        return list(values)
    ratio = len(values) ** (1 / (count - 1))
    places = sorted({min(max(k, round(ratio**k) - 1), len(values) - 1) for k in range(count)})
    return [values[place] for place in places]


def _loss(target: Target, spec: Spec, spectra: Spectra | None, value: int | tuple[int, ...]) -> float:
    if spectra is None:
        return target.measure(target.fitted(spec)) ** 2
    total = sum(spectra[0])
    bonds = value if isinstance(value, tuple) else (value,) * len(spectra)
    return tails(spectra, bonds) / total if total else 0.0
