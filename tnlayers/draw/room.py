"""Room: what a diagram has drawn so far, asked where the next leg or label is in nobody's way.

Everything is a disc, a box of text, or a line of short pieces. A candidate's penalty counts what it would touch; the
cheapest candidate wins, the first of equals. Touching text is `SERIOUS`: the diagram is then drawn again, wider.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from math import ceil, hypot

from tnlayers.draw.scene import Box, Point, around, overlap

SERIOUS = 100.0
_CROSSING = 3.0
_PIECE = 5.0  # pixels between the points that stand for a line
_APART = 5.0  # pixels between texts: nearer ones read as one
_MARGIN = 2.0  # pixels to keep between a text and what is not its own


def bezier(points: Sequence[Point]) -> list[Point]:
    """Points along a cubic Bezier curve, given by its four control points, about five pixels apart."""
    length = sum(hypot(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(points))
    n = max(ceil(length / _PIECE), 2)
    return [at(points, k / n) for k in range(n + 1)]


def at(points: Sequence[Point], t: float) -> Point:
    """The point of a cubic Bezier curve at `t` from 0 to 1."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    x, y = (sum(w * p[k] for w, p in zip(weights, points, strict=True)) for k in (0, 1))
    return x, y


def straight(start: Point, end: Point) -> tuple[Point, Point, Point, Point]:
    """A straight line as a Bezier curve."""
    (x0, y0), (x1, y1) = start, end
    return start, ((2 * x0 + x1) / 3, (2 * y0 + y1) / 3), ((x0 + 2 * x1) / 3, (y0 + 2 * y1) / 3), end


class Room:
    """What is there already.

    Args:
        discs: Centre and radius of every vertex.
    """

    def __init__(self, discs: Sequence[tuple[Point, float]]) -> None:
        self.discs = list(discs)
        self.boxes: list[Box] = []
        self.lines: list[tuple[list[Point], float, Box]] = []  # points, half the width, box
        self.penalty = 0.0

    def add_line(self, points: list[Point], width: float) -> None:
        """A line is there."""
        xs, ys = zip(*points, strict=True)
        self.lines.append((points, width / 2, (min(xs), min(ys), max(xs), max(ys))))

    def add_boxes(self, boxes: Iterable[Box]) -> None:
        """Texts are there."""
        self.boxes += boxes

    def text_penalty(self, box: Box) -> float:
        """What a text there would touch."""
        touched = sum(overlap(box, other, _APART) for other in self.boxes)
        touched += sum(_disc_in_box(disc, box) for disc in self.discs)
        touched += sum(_line_in_box(line, box) for line in self.lines)
        return SERIOUS * touched

    def texts_crossed(self, points: list[Point], width: float) -> float:
        """The penalty of the texts that a line there would pass through."""
        line = points, width / 2, around([(x, y, x, y) for x, y in points])
        return SERIOUS * sum(_line_in_box(line, box) for box in self.boxes)

    def line_penalty(self, points: list[Point], width: float, own: Iterable[int]) -> float:
        """What a line there would touch, but for the `own` vertices at its ends."""
        mine, box = set(own), around([(x, y, x, y) for x, y in points])
        others = [
            disc
            for k, disc in enumerate(self.discs)
            if k not in mine and overlap(box, (*disc[0], *disc[0]), disc[1] + width + 6)
        ]
        hits = sum(_disc_on_line(disc, points, width) for disc in others)
        hits += sum(_line_in_box((points, width / 2, box), other) for other in self.boxes)
        crossings = sum(overlap(box, line[2]) and _cross(points, line[0]) for line in self.lines)
        return SERIOUS * hits + _CROSSING * crossings


def _disc_in_box(disc: tuple[Point, float], box: Box) -> bool:
    (x, y), radius = disc
    nearest = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    return hypot(x - nearest[0], y - nearest[1]) < radius + _MARGIN


def _line_in_box(line: tuple[list[Point], float, Box], box: Box) -> bool:
    points, half, bounds = line
    gap = half + 1.0
    if not overlap(bounds, box, gap):
        return False
    return any(box[0] - gap < x < box[2] + gap and box[1] - gap < y < box[3] + gap for x, y in points)


def _disc_on_line(disc: tuple[Point, float], points: list[Point], width: float) -> bool:
    (x, y), radius = disc
    return any(hypot(x - u, y - v) < radius + width / 2 + 3 * _MARGIN for u, v in points)


def _cross(line: list[Point], other: list[Point]) -> bool:
    """Whether two lines cross, away from their ends, each taken as a few straight pieces."""
    return any(_pieces_cross(a, b, c, d) for a, b in _pieces(line) for c, d in _pieces(other))


def _pieces(line: list[Point]) -> list[tuple[Point, Point]]:
    few = [line[k * (len(line) - 1) // 4] for k in range(5)]
    return list(itertools.pairwise(few))


def _pieces_cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
