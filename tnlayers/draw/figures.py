"""Figures that a set of cores forms by itself: a row, a ring, a grid; or else the places where springs come to rest.

All work on the neighbours of each core, in units of one bond. None knows a network type: a grid is what distances from
two of its corners show to be one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from math import cos, hypot, pi, sin
from typing import TypeAlias

from tnlayers.draw.scene import Point

Neighbours: TypeAlias = Mapping[int, Sequence[int]]

_SPRING_SWEEPS = 150
_LEAST_RADIUS = 0.85  # of a ring: open legs point into it


def row(neighbours: Neighbours, sites: Mapping[int, float]) -> list[int] | None:
    """The cores from left to right if they form a chain, else None; the end with the first modes is on the left."""
    ends = [v for v, joined in neighbours.items() if len(joined) <= 1]
    count = sum(map(len, neighbours.values())) // 2
    if any(len(joined) > 2 for joined in neighbours.values()) or count != len(neighbours) - 1 or not ends:
        return None
    order = _follow(neighbours, min(ends, key=lambda v: (sites[v], v)))
    return order if len(order) == len(neighbours) else None


def ring(neighbours: Neighbours) -> dict[int, Point] | None:
    """Places on a circle if the cores form one closed loop of at least three, else None."""
    n = len(neighbours)
    if n < 3 or any(len(joined) != 2 for joined in neighbours.values()):
        return None
    order = _follow(neighbours, min(neighbours))
    if len(order) != n:
        return None
    radius = max(0.5 / sin(pi / n), _LEAST_RADIUS)
    # Clockwise (y is downwards). Three: the second on top. More: the first two level, on top.
    first = -1.0 if n == 3 else -0.5
    angles = [-pi / 2 + 2 * pi * (k + first) / n for k in range(n)]
    return {v: (radius * cos(a), radius * sin(a)) for v, a in zip(order, angles, strict=True)}


def _follow(neighbours: Neighbours, start: int) -> list[int]:
    order = [start]
    while unseen := [v for v in neighbours[order[-1]] if v not in order]:
        order.append(min(unseen))
    return order


def grid(neighbours: Neighbours) -> dict[int, Point] | None:
    """Places on a square grid if the bonds are those of one, else None.

    With the distances a and b of a core from the two ends of the first row, of width w, it is in column
    (a - b + w) / 2 and row (a + b - w) / 2.
    """
    corners = [v for v, joined in neighbours.items() if len(joined) <= 2]
    for left, right in permutations(corners, 2):
        a, b = distances(neighbours, left), distances(neighbours, right)
        width = a.get(right, 0)
        if len(a) < len(neighbours):
            return None
        places = {v: ((a[v] - b[v] + width) / 2, (a[v] + b[v] - width) / 2) for v in neighbours}
        unit = all(
            abs(places[v][0] - places[u][0]) + abs(places[v][1] - places[u][1]) == 1
            for v, joined in neighbours.items()
            for u in joined
        )
        if unit and len(set(places.values())) == len(places):
            return places
    return None


def springs(neighbours: Neighbours) -> dict[int, Point]:
    """Places whose distances are as near as can be to the distances in the graph (stress majorisation).

    Each core moves to the mean of where the others would have it, weighted by one over the squared distance (Gansner,
    Koren and North 2004, "Graph drawing by stress majorization", localised). It starts from a circle.
    """
    order = list(neighbours)
    apart = {v: distances(neighbours, v) for v in order}
    n = len(order)
    turn = {v: 2 * pi * k / n for k, v in enumerate(order)}
    places = {v: (n / 4 * cos(turn[v] - pi), n / 4 * sin(turn[v] - pi)) for v in order}
    for _ in range(_SPRING_SWEEPS):
        for v in order:
            x = y = total = 0.0
            for u in order:
                wanted = apart[v].get(u, n)
                if wanted:
                    dx, dy = places[v][0] - places[u][0], places[v][1] - places[u][1]
                    pull, weight = wanted / max(hypot(dx, dy), 1e-9), wanted**-2
                    x += weight * (places[u][0] + pull * dx)
                    y += weight * (places[u][1] + pull * dy)
                    total += weight
            if total:
                places[v] = (x / total, y / total)
    return places


def distances(neighbours: Neighbours, start: int) -> dict[int, int]:
    """How many bonds lie between `start` and each core that it reaches."""
    found, frontier = {start: 0}, [start]
    while frontier:
        frontier = [u for u in dict.fromkeys(_around(neighbours, frontier)) if u not in found]
        found |= dict.fromkeys(frontier, max(found.values()) + 1)
    return found


def _around(neighbours: Neighbours, vertices: Iterable[int]) -> Iterable[int]:
    return (u for v in vertices for u in neighbours[v])


def spread(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Places in this order, at least the gaps apart, with the least sum of squared distances from those wanted.

    Pooling adjacent violators: neighbours that would come too near stand as one block at the mean of their wishes.

    Example:
        >>> spread([0, 1, 10], [4, 4])
        [-1.5, 2.5, 10.0]
    """
    before = [0.0]
    for gap in gaps:
        before.append(before[-1] + gap)
    blocks: list[tuple[float, int]] = []  # mean of wishes less the gaps before, and how many
    for wish, offset in zip(wanted, before, strict=False):
        mean, count = wish - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, count = (other * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    levelled = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(levelled, before, strict=False)]
