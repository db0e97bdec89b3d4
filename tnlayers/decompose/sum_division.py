"""A budget of parameters divided among the terms of a sum, such as low rank and an MPO of what that leaves.

Terms whose size is written keep it. The others begin with equal parts; then a part of one goes to another, for as long
as the measured error falls: of the outputs where the inputs' second moment is known, else of the weight. Every division
that is tried is fitted, in a few rounds, each term in turn to what the others leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from math import inf
from operator import add

from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.size_search import Found, best_within
from tnlayers.decompose.sizes import Scale, size_keyword
from tnlayers.decompose.target import Target
from tnlayers.errors import TNLayersError

_STEPS = (1 / 2, 1 / 4, 1 / 8)  # of the budget that is divided: how much goes from one term to another
_ROUNDS = 3  # over the terms, to compare divisions by; the best one has all
_NEAR = 1e-3  # share of the error by which a division must be better

Parts = tuple[float, ...]


def divided_sum(target: Target, template: Spec, limit: int) -> Found:
    """The sum of at most `limit` parameters whose measured error is least, of the divisions that are tried.

    Args:
        target: The weight.
        template: A sum, at least one of whose terms has no size.
        limit: Parameters of all terms together.

    Raises:
        TNLayersError: If every term has a size, or no division leaves each term its smallest one.
    """
    sizes = (target.in_features, target.out_features)
    terms: Sequence[Spec] = template.parts
    scales = [Scale.of(term, *sizes) if _is_open(term) else None for term in terms]
    fixed = [make_spec(term, *sizes) if scale is None else None for term, scale in zip(terms, scales, strict=True)]
    free = [k for k, scale in enumerate(scales) if scale is not None]
    if not free:
        raise TNLayersError(
            f"{template}: the size of every term is written, so that there is none to choose for a budget. Leave the "
            "size of one out, or the budget."
        )
    room = limit - sum(spec.parameters for spec in fixed if spec is not None)
    brief = target.briefly(_ROUNDS)
    tried: dict[Parts, tuple[float, Spec | None]] = {}

    def at(parts: Parts) -> float:
        """The error of a division; infinite where it leaves a term too little."""
        if parts not in tried:
            spec = _sized(target, scales, fixed, dict(zip(free, parts, strict=True)), room)
            tried[parts] = inf if spec is None else brief.measure(brief.fitted(spec)), spec
        return tried[parts][0]

    best: Parts = (1 / len(free),) * len(free)
    at(best)
    for step in _STEPS:
        moved = True
        while moved:
            nearest = min(_moved(best, step), key=at, default=best)
            moved = at(nearest) < at(best) * (1 - _NEAR)
            best = nearest if moved else best
    _, chosen = min(tried.values(), key=lambda one: one[0])
    if chosen is None:
        raise TNLayersError(
            f"{template} for {sizes[0]} -> {sizes[1]}: {limit} parameters are too few for the smallest size of each of "
            "its terms. Allow more, or leave a term out."
        )
    return chosen, target.fitted(chosen)


def _is_open(term: Spec) -> bool:
    """Whether a term of a template leaves its size open."""
    key = size_keyword(term.network)
    return key is not None and key not in dict(term.options)


def _moved(parts: Parts, step: float) -> Iterator[Parts]:
    """Divisions in which one term has gained, and another lost, a step."""
    for a in range(len(parts)):
        for b in range(len(parts)):
            if a != b and parts[a] > step / 4:
                some = min(step, parts[a] / 2)
                yield tuple(part + some * ((k == b) - (k == a)) for k, part in enumerate(parts))


def _sized(
    target: Target, scales: Sequence[Scale | None], fixed: Sequence[Spec | None], parts: dict[int, float], room: int
) -> Spec | None:
    """The sum at one division: each size is that which serves best what the terms before it leave of the weight."""
    rest, spent = target, 0
    terms: list[Spec] = []
    for k, scale in enumerate(scales):
        spec = fixed[k]
        if spec is None:
            assert scale is not None
            later = sum(part for other, part in parts.items() if other > k)
            try:
                spec = best_within(rest, scale, max(int(room * (1 - later)) - spent, 0))
            except TNLayersError:
                return None
            spent += spec.parameters
        terms.append(spec)
        if k < len(scales) - 1:
            rest = rest.without(spec)
    return reduce(add, terms)
