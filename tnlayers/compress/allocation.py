"""Allocation: one budget divided among all layers and network types of a model.

Every layer is a list of options (what it costs, and the squared error it leaves); dense is one of them, without error.
Minimise the sum of errors within the budget. Two ways are tried, and the better choice counts:

- steps: the lower convex hull of each layer's options gives steps of falling gain per cost, and taking the steeper ones
  first is the Lagrangian optimum at every budget that it meets exactly (Everett 1963, doi 10.1287/opre.11.3.399; Shoham
  and Gersho 1988, doi 10.1109/29.90373): near the best where there are many layers, each a small part of the budget.
- a table: the least error of the first layers by what they may cost, layer by layer (dynamic programming; Kellerer,
  Pferschy and Pisinger 2004, Knapsack Problems, chapter 11, doi 10.1007/978-3-540-24777-7): near the best where layers
  are few. Dense has no error, so hulls leave out the sizes just below it, and its step may be too long for the budget.

What either leaves over goes to single options.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tnlayers.declare.spec import Spec

_CELLS = 2048  # of the table: costs above the cheapest ones are rounded up to this part of what is left for them


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

    No choice has less loss where the limit is at most 2048 above the sum of the cheapest options. Above that, none has
    that leaves for each layer a 2048th part of the difference, rounded up, unspent.

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
    room = limit - sum(min(option.cost for option in options) for options in layers)
    if room < 0:
        return None
    ways = (_by_steps(layers, room), _by_table(layers, room))
    return min((_filled(layers, chosen, limit) for chosen in ways), key=_loss)


def _loss(chosen: Sequence[Option]) -> float:
    return sum(option.loss for option in chosen)


def _by_steps(layers: Sequence[Sequence[Option]], room: int) -> list[Option]:
    """The steepest steps along the hulls that fit one after the other into what is left beside the cheapest options."""
    hulls = [hull(options) for options in layers]
    places = [0] * len(hulls)
    steps = [(-_gain(options, 0), k) for k, options in enumerate(hulls) if len(options) > 1]
    heapq.heapify(steps)
    while steps:
        _, k = heapq.heappop(steps)
        options, place = hulls[k], places[k]
        more = options[place + 1].cost - options[place].cost
        if more > room:
            continue  # this layer's next step is too long; shorter ones of other layers may still fit
        room, places[k] = room - more, place + 1
        if place + 2 < len(options):
            heapq.heappush(steps, (-_gain(options, place + 1), k))
    return [options[place] for options, place in zip(hulls, places, strict=True)]


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


def _by_table(layers: Sequence[Sequence[Option]], room: int) -> list[Option]:
    """The choice of least loss among those that fit with every cost above a layer's cheapest rounded up to cells."""
    cell = max(-(-room // _CELLS), 1)
    cells = room // cell
    ladders = [_ladder(options, cell, cells) for options in layers]
    least = np.zeros(cells + 1)  # loss of the layers so far, by the cells that they may take
    taken = []
    for ladder in ladders:
        losses, rungs = np.full(cells + 1, np.inf), np.zeros(cells + 1, np.int32)
        for rung, (height, option) in enumerate(ladder):
            found = least[: cells + 1 - height] + option.loss
            better = found < losses[height:]
            np.copyto(losses[height:], found, where=better)
            np.copyto(rungs[height:], rung, where=better)
        least = losses
        taken.append(rungs)
    chosen = []
    for ladder, rungs in zip(reversed(ladders), reversed(taken), strict=True):
        height, option = ladder[rungs[cells]]
        cells -= height
        chosen.append(option)
    return chosen[::-1]


def _ladder(options: Sequence[Option], cell: int, cells: int) -> list[tuple[int, Option]]:
    """The options worth having, each with the cells that it takes beyond the cheapest: losses fall."""
    cheapest = min(option.cost for option in options)
    heights = [(-((cheapest - option.cost) // cell), option) for option in options]
    found: list[tuple[int, Option]] = []
    for height, option in sorted(heights, key=lambda one: (one[0], one[1].loss, one[1].cost)):
        if height <= cells and (not found or option.loss < found[-1][1].loss):
            found.append((height, option))
    return found


def _filled(layers: Sequence[Sequence[Option]], chosen: Sequence[Option], limit: int) -> list[Option]:
    """The choice with what is left over spent on the options, of any layer, that gain most and fit."""
    filled, room = list(chosen), limit - sum(option.cost for option in chosen)
    steps: list[tuple[float, int, Option]] = []

    def offer(k: int) -> None:
        now = filled[k]
        fitting = [one for one in layers[k] if one.loss < now.loss and 0 < one.cost - now.cost <= room]
        if fitting:
            best = min(fitting, key=lambda one: one.loss)
            heapq.heappush(steps, (best.loss - now.loss, k, best))

    for k in range(len(layers)):
        offer(k)
    while steps:
        _, k, best = heapq.heappop(steps)
        if (more := best.cost - filled[k].cost) <= room:
            filled[k], room = best, room - more
        offer(k)  # a step up from the new option, or a shorter one in place of what no longer fits
    return filled


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
