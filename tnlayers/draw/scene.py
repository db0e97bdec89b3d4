"""Scenes: a picture as a few kinds of shapes in absolute coordinates, x to the right and y downwards, in pixels.

What draws (networks, contraction trees, timelines) makes shapes; what writes (`svg.py`, `raster.py`) knows nothing
else. Colours are roles of `theme.py`, so one scene serves every theme. All are frozen and comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom

# Widths in em of DejaVu Sans, the widest of the common sans-serif faces: estimates are upper bounds for the others.
_NARROW, _WIDE = (
    set("iljtfI.,:;'|!()[]/ \u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089"),
    set("mwMW@\u2192"),
)
_NARROW_EM, _USUAL_EM, _CAPITAL_EM, _WIDE_EM = 0.41, 0.64, 0.74, 0.98


def text_width(text: str, size: float) -> float:
    """Width in pixels that a line of text takes at most.

    Example:
        >>> round(text_width("core_0", 10))
        38
    """
    ems = (
        _NARROW_EM if c in _NARROW else _WIDE_EM if c in _WIDE else _CAPITAL_EM if c.isupper() else _USUAL_EM
        for c in text
    )
    return size * sum(ems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """A disc with an outline."""

    centre: Point
    radius: float
    fill: str
    stroke: str
    width: float = 1.5

    @property
    def box(self) -> Box:
        """The box around it."""
        (x, y), r = self.centre, self.radius + self.width / 2
        return x - r, y - r, x + r, y + r

    def moved(self, dx: float, dy: float) -> Circle:
        """The same, elsewhere."""
        return replace(self, centre=(self.centre[0] + dx, self.centre[1] + dy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A filled rectangle, its corners rounded by `corner` pixels."""

    at: Point
    size: Point
    fill: str
    corner: float = 0

    @property
    def box(self) -> Box:
        """The box around it: itself."""
        return *self.at, self.at[0] + self.size[0], self.at[1] + self.size[1]

    def moved(self, dx: float, dy: float) -> Rectangle:
        """The same, elsewhere."""
        return replace(self, at=(self.at[0] + dx, self.at[1] + dy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points; with `cubic`, four points of a Bezier curve."""

    points: tuple[Point, ...]
    stroke: str
    width: float = 1.5
    cubic: bool = False

    @property
    def box(self) -> Box:
        """A box that holds it (a Bezier curve stays within its control points)."""
        xs, ys = zip(*self.points, strict=True)
        w = self.width / 2
        return min(xs) - w, min(ys) - w, max(xs) + w, max(ys) + w

    def moved(self, dx: float, dy: float) -> Line:
        """The same, elsewhere."""
        return replace(self, points=tuple((x + dx, y + dy) for x, y in self.points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One line of text, `at` its middle height; `anchor` says which part of it is at x."""

    at: Point
    text: str
    size: float = 11
    fill: str = "ink"
    anchor: str = "middle"
    bold: bool = False

    @property
    def box(self) -> Box:
        """The box that the text fills at most."""
        width = text_width(self.text, self.size) * (1.08 if self.bold else 1)
        left = self.at[0] - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, self.at[1] - 0.6 * self.size, left + width, self.at[1] + 0.6 * self.size

    def moved(self, dx: float, dy: float) -> Text:
        """The same, elsewhere."""
        return replace(self, at=(self.at[0] + dx, self.at[1] + dy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Shapes that are one thing: of a `kind` ("core", "bond", "mode", ...), with a title that says it in words.

    Attributes:
        shapes: The shapes, first drawn first.
        kind: What it shows.
        title: Told by screen readers and when the pointer rests on it.
        data: Facts to find again in the file, such as the size of a bond.
    """

    shapes: tuple[Shape, ...]
    kind: str = ""
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def box(self) -> Box:
        """The box around all shapes."""
        return around(shape.box for shape in self.shapes)

    def moved(self, dx: float, dy: float) -> Group:
        """The same, elsewhere."""
        return replace(self, shapes=tuple(shape.moved(dx, dy) for shape in self.shapes))


Shape: TypeAlias = Circle | Rectangle | Line | Text | Group


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all boxes."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def overlap(a: Box, b: Box, gap: float = 0) -> bool:
    """Whether two boxes share a point, or come nearer than `gap`.

    Example:
        >>> overlap((0, 0, 2, 2), (3, 0, 4, 2)), overlap((0, 0, 2, 2), (3, 0, 4, 2), gap=1.5)
        (False, True)
    """
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def groups(shape: Shape) -> Iterator[Group]:
    """All groups within a shape, itself included, outer ones first."""
    if isinstance(shape, Group):
        yield shape
        for inner in shape.shapes:
            yield from groups(inner)
