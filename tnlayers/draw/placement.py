"""The position of each vertex of a diagram, in pixels: derived from the graph alone, never from a network's name.

A chain is a straight row, one closed loop a ring, a grid a grid. Everything else is in rows by level (`levels.py`),
the widest row in the order of its modes, the others as near as room allows to the mean of what they are joined to. Dots
with open legs come last: below their cores if they are read, above if they are written, at the left end if both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from statistics import mean

from tnlayers.draw.figures import Neighbours, grid, ring, row, spread, springs
from tnlayers.draw.levels import levels
from tnlayers.draw.scene import Point
from tnlayers.draw.wiring import Wiring

_GAP = 46.0  # between the outlines of neighbours in a row: room for a wire with its size
_RISE = 74.0  # between the outlines of rows: room for open legs with their sizes
_SLOPE = 0.42  # the least of a wire between rows: flatter ones would touch the cores that they pass
_STEP = 118.0  # a bond in rings, grids and between springs


def place(wiring: Wiring, scale: float = 1.0) -> list[Point]:
    """The centre of every vertex; all distances grow with `scale`."""
    opened = frozenset(v for v, vertex in enumerate(wiring.vertices) if vertex.dot and any(wiring.open_legs(v)))
    heights = levels(wiring, opened)
    sites = {v: _site(wiring, v) for v in range(len(wiring.vertices))}
    bonds: Neighbours = {v: [u for u in wiring.neighbours[v] if u not in opened] for v in heights}
    cores_only = not any(wiring.vertices[v].dot for v in heights)
    level = len(set(heights.values())) == 1
    places = None
    if cores_only and (order := row(bonds, sites)):
        places = _in_row(wiring, order, scale)
    elif cores_only and (figure := ring(bonds) or (_plane(bonds) if level else None)):
        step = scale * _STEP
        places = {v: (step * x, step * y) for v, (x, y) in figure.items()}
    if places is None:
        places = _in_rows(wiring, heights, sites, scale)
    _add_open_dots(wiring, places, sorted(opened, key=lambda v: sites[v]), scale)
    return [places[v] for v in range(len(wiring.vertices))]


def _plane(bonds: Neighbours) -> dict[int, Point] | None:
    """Places for cores of one level that are joined in no simple order."""
    return (grid(bonds) or springs(bonds)) if any(bonds.values()) else None


def _site(wiring: Wiring, vertex: int) -> float:
    """The mean place of a vertex's modes among all modes, 0 to 1, those behind a dot included; the middle without."""
    stubs = [stub for v in (vertex, *wiring.neighbours[vertex]) for stub in wiring.stubs if stub.vertex == v]
    own = [stub for stub in stubs if stub.vertex == vertex] or [
        stub for stub in stubs if wiring.vertices[stub.vertex].dot
    ]
    counts = [sum(stub.output == output for stub in wiring.stubs) for output in (False, True)]
    return mean((stub.mode + 0.5) / counts[stub.output] for stub in own) if own else 0.5


def _gaps(wiring: Wiring, order: list[int], scale: float) -> list[float]:
    radii = [wiring.vertices[v].radius for v in order]
    return [a + b + scale * _GAP for a, b in itertools.pairwise(radii)]


def _in_row(wiring: Wiring, order: list[int], scale: float) -> dict[int, Point]:
    gaps = _gaps(wiring, order, scale)
    return {v: (sum(gaps[:k]), 0.0) for k, v in enumerate(order)}


def _in_rows(wiring: Wiring, heights: Mapping[int, int], sites: Mapping[int, float], scale: float) -> dict[int, Point]:
    """Rows by level: the longest first, in the order of its modes, then those above and below it."""
    rows = [[v for v in heights if heights[v] == k] for k in range(max(heights.values()) + 1)]
    base = max(range(len(rows)), key=lambda k: len(rows[k]))
    order = sorted(rows[base], key=lambda v: (sites[v], v))
    xs = {v: x for v, (x, _) in _in_row(wiring, order, scale).items()}
    left, right = min(xs.values()), max(xs.values())
    for k in sorted(range(len(rows)), key=lambda k: abs(k - base))[1:]:
        by_mode = {v: left + sites[v] * (right - left) for v in rows[k]}
        joined = {v: [xs[u] for u in wiring.neighbours[v] if u in xs] for v in rows[k]}
        wanted = {v: mean(joined[v]) if joined[v] else by_mode[v] for v in rows[k]}
        key = {v: by_mode[v] if any(wiring.open_legs(v)) else wanted[v] for v in rows[k]}
        order = sorted(rows[k], key=lambda v: (key[v], v))
        xs |= dict(zip(order, spread([wanted[v] for v in order], _gaps(wiring, order, scale)), strict=True))
    tops = [0.0]
    for below, over in itertools.pairwise(rows):
        radii = [max(wiring.vertices[v].radius for v in each) for each in (below, over)]
        legs = not any(all(wiring.vertices[v].dot for v in each) for each in (below, over))
        reach = max((abs(xs[v] - xs[u]) for v in over for u in wiring.neighbours[v] if u in below), default=0)
        tops.append(tops[-1] - max(sum(radii) + scale * (_RISE if legs else _GAP), _SLOPE * reach))
    return {v: (xs[v], tops[heights[v]]) for v in heights}


def _add_open_dots(wiring: Wiring, places: dict[int, Point], dots: list[int], scale: float) -> None:
    """Place the dots with open legs around what is placed; `dots` in the order of their modes."""
    body = dict(places)
    radius = max(wiring.vertices[v].radius for v in body)
    low, high = max(y for _, y in body.values()), min(y for _, y in body.values())
    both = [dot for dot in dots if all(wiring.open_legs(dot))]
    for k, dot in enumerate(reversed(both)):
        joined = [body[u] for u in wiring.neighbours[dot] if u in body]
        left = min(x for x, _ in body.values()) - radius - (k + 1) * scale * _GAP
        places[dot] = (left, mean(y for _, y in joined) if joined else low)
    for side in (0, 1):
        rank = [dot for dot in dots if dot not in both and wiring.open_legs(dot)[side]]
        wanted = [mean(body[u][0] for u in wiring.neighbours[dot]) for dot in rank]
        xs = dict(zip(rank, spread(wanted, [scale * _GAP] * (len(rank) - 1)), strict=True))
        reach = max((abs(xs[dot] - body[u][0]) for dot in rank for u in wiring.neighbours[dot]), default=0)
        shift = max(radius + scale * _RISE, _SLOPE * reach)
        places |= {dot: (xs[dot], high - shift if side else low + shift) for dot in rank}
