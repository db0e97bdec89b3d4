"""Where no network is named: low rank, an MPO and their sum; each weight takes the one of least measured error.

An allocation goes by what singular values show of each type. What tells them apart in the end is the error that is
measured, of the layer's outputs on a sample, else of the weight; so the best of each type within the parameters that a
weight was given are built, and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tnlayers_backends.torch.layers.module import TNModule

from tnlayers.compress.allocation import Option
from tnlayers.compress.candidates import Candidate
from tnlayers.compress.curves import Curve
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError

OFFERED = ("mpo", "lowrank")
_NEAR = 0.99  # of the parameters that a weight was given, less is not compared
_CLOSE = 4.0  # times the squared error that is expected of the type that was allocated, more is not compared
_SUMMED = 2**18  # entries of a weight whose sums are tried: their terms are fitted in turns


def contested(candidate: Candidate, option: Option) -> tuple[Option, TNModule, str]:
    """The type of least measured error at no more parameters: its option, its layer, and what was measured.

    Args:
        candidate: The weight, with the curves of its types.
        option: What was allocated, a network.
    """
    built: list[tuple[float, Option, TNModule]] = []
    for one in (option, *_rivals(candidate, option)):
        try:
            layer = candidate.built(one)
        except TNLayersError:
            if one is option:
                raise
            continue  # a sum that this kind of layer does not take
        assert layer is not None
        built.append((_error(layer), one, layer))
    error, best, layer = min(built, key=lambda found: found[0])
    errors_text = ", ".join(f"{_name(one)} {wrong:.3g}" for wrong, one, _ in built)
    return replace(best, loss=error**2), layer, f"measured {errors_text}"


def _rivals(candidate: Candidate, option: Option) -> Iterator[Option]:
    """The best of the other types, and of sums of two, within the parameters of an option."""
    limit, taken = option.parameters, option.spec
    assert taken is not None
    for curve in candidate.curves:
        found = _within(curve, limit)
        if found is None or found.network == taken.network or found.parameters < _NEAR * limit:
            continue
        if _loss(curve, limit) <= _CLOSE * option.loss:
            yield _option(option, found)
    if candidate.dense <= _SUMMED and len(candidate.curves) == len(OFFERED):
        summed = _sum(candidate.curves, limit)
        if summed is not None and _NEAR * limit <= summed.parameters <= limit:
            yield _option(option, summed)


def _sum(curves: Sequence[Curve], limit: int) -> Spec | None:
    """Half of the parameters for one type, and what that leaves for the other."""
    first = _within(curves[1], limit // 2)
    second = None if first is None else _within(curves[0], limit - first.parameters)
    if first is None or second is None:
        return None
    try:
        return make_spec(f"{second} + {first}", first.in_features, first.out_features)
    except TNLayersError:
        return None


def _within(curve: Curve, limit: int) -> Spec | None:
    """The size of a type that keeps most within a limit."""
    fitting = [one for one in curve.options if one.parameters <= limit]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: one.loss)
    assert best.spec is not None
    return curve.within(best.spec, limit)


def _loss(curve: Curve, limit: int) -> float:
    return min(one.loss for one in curve.options if one.parameters <= limit)


def _option(option: Option, spec: Spec) -> Option:
    return replace(option, spec=spec, parameters=spec.parameters, cost=spec.parameters)


def _error(layer: TNModule) -> float:
    found = layer.delivered
    assert found is not None
    return found.error if found.output_error is None else found.output_error


def _name(option: Option) -> str:
    assert option.spec is not None
    return " + ".join(part.network for part in option.spec.parts)
