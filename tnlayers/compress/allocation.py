"""Allocation: one budget divided among all layers and network types of a model.

Every layer is a list of options (what it costs, and the squared error it leaves); dense is one of them, without error.
Minimise the sum of errors within the budget: the lower convex hull of each layer's options gives steps of falling gain
per cost, and taking the steeper steps first is the Lagrangian optimum at every budget that it meets exactly (Everett
1963, doi 10.1287/opre.11.3.399; Shoham and Gersho 1988, doi 10.1109/29.90373). The rest goes to single options.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tnlayers.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to have a layer.

    Attributes:
        spec: The network; None for the dense layer as it is.
        parameters: Entries of its weight, without bias.
        cost: What the budget counts: parameters or flops.
        loss: Squared relative error, times what the layer's error matters to the model.
    """

    spec: Spec | None
    parameters: int
    cost: int
    loss: float


def allocate(layers: Sequence[Sequence[Option]], limit: int) -> list[Option] | None:
    """One option per layer, the sum of whose costs stays within a limit and the sum of whose losses is small.

    Args:
        layers: The options of each layer, at least one each.
        limit: What all costs together may be.

    Returns:
        The choice, or None where the cheapest options together cost more.

    Example:
        >>> cheap = Option(spec=None, parameters=1, cost=1, loss=0.5)
        >>> dense = Option(spec=None, parameters=4, cost=4, loss=0.0)
        >>> unimportant = Option(spec=None, parameters=1, cost=1, loss=0.1)
        >>> [option.cost for option in allocate([[cheap, dense], [unimportant, dense]], 6)]
        [4, 1]
    """
    hulls = [hull(options) for options in layers]
    places = [0] * len(hulls)
    spent = sum(options[0].cost for options in hulls)
    if spent > limit:
        return None
    steps = [(-_gain(options, 0), k) for k, options in enumerate(hulls) if len(options) > 1]
    heapq.heapify(steps)
    while steps:
        _, k = heapq.heappop(steps)
        options, place = hulls[k], places[k]
        more = options[place + 1].cost - options[place].cost
        if spent + more > limit:
            continue  # this layer's next step is too long; shorter ones of other layers may still fit
        spent, places[k] = spent + more, place + 1
        if place + 2 < len(options):
            heapq.heappush(steps, (-_gain(options, place + 1), k))
    chosen = [options[place] for options, place in zip(hulls, places, strict=True)]
    return _filled(layers, chosen, limit - spent)


def hull(options: Sequence[Option]) -> list[Option]:
    """The options on the lower convex hull of loss over cost, from the cheapest on: losses fall, ever more slowly."""
    found: list[Option] = []
    for option in sorted(options, key=lambda one: (one.cost, one.loss)):
        if found and option.loss >= found[-1].loss:
            continue
        while len(found) > 1 and _slope(found[-2], found[-1]) <= _slope(found[-2], option):
            found.pop()
        found.append(option)
    return found


def _slope(cheap: Option, dear: Option) -> float:
    return (cheap.loss - dear.loss) / max(dear.cost - cheap.cost, 1)


def _gain(options: Sequence[Option], place: int) -> float:
    return _slope(options[place], options[place + 1])


def _filled(layers: Sequence[Sequence[Option]], chosen: list[Option], room: int) -> list[Option]:
    """The choice with what is left over spent on the options, of any layer, that gain most and fit."""
    while True:
        fitting = [
            (now.loss - option.loss, k, option)
            for k, (options, now) in enumerate(zip(layers, chosen, strict=True))
            for option in options
            if option.loss < now.loss and 0 < option.cost - now.cost <= room
        ]
        if not fitting:
            return chosen
        _, k, best = max(fitting, key=lambda found: found[0])
        room -= best.cost - chosen[k].cost
        chosen[k] = best


def exchanged(layers: Sequence[Sequence[Option]], chosen: Sequence[Option], room: int, near: int) -> list[Option]:
    """The choice with two layers changed so that less than `near` of a limit is left over, at the least loss.

    Greedy steps can end with a rest that no single step fits; one layer smaller and another larger may use it up.

    Args:
        layers: The options of each layer, the chosen ones included.
        chosen: One per layer.
        room: What is left over now.
        near: What may be left over.

    Returns:
        The new choice; the old one where no exchange of two leaves so little.
    """
    best, best_loss = list(chosen), float("inf")
    ordered = [sorted(options, key=lambda option: option.cost) for options in layers]
    costs = [[option.cost for option in options] for options in ordered]
    for a, now in enumerate(chosen):
        for option in ordered[a]:
            for b in range(len(layers)):
                left = room + now.cost - option.cost + chosen[b].cost
                if b == a or (place := bisect_right(costs[b], left)) == 0:
                    continue
                other = ordered[b][place - 1]
                loss = option.loss + other.loss - now.loss - chosen[b].loss
                if left - other.cost <= near and loss < best_loss:
                    best, best_loss = list(chosen), loss
                    best[a], best[b] = option, other
    return best
