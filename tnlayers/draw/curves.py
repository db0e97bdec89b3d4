"""Curves in a frame: axes with ticks, one line or one row of dots per series, each series named at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from tnlayers.draw.figures import spread
from tnlayers.draw.scene import Circle, Group, Line, Point, Shape, Text

WIDTH, HEIGHT = 230.0, 150.0
# Beside colours, series differ by their dots' fill, and each is named at its end.
ROLES = ("weights", "output", "input", "hyper", "batch")
_DECADES = 8  # of a logarithmic axis: what is smaller is rounding, and is drawn at the bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve.

    Attributes:
        name: Written at its end.
        points: (x, y), x ascending.
        role: Its colour.
        faint: A reference line without dots, in grey.
    """

    name: str
    points: tuple[Point, ...]
    role: str = "weights"
    faint: bool = False


def frame(series: Sequence[Series], *, x_name: str, y_name: str, logarithmic: bool = False) -> Group:
    """Draw curves in one frame whose lower left corner is (0, 0).

    Args:
        series: The curves, at least one with a point.
        x_name: Written below.
        y_name: Written above the left axis.
        logarithmic: Whether y is logarithmic; values of eight decades below the largest are drawn at the bottom.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    left, right = min(xs), max(xs)
    ticks = _decades(max(ys), min(ys)) if logarithmic else _steps(max(ys))
    low, high = ticks[0][0], ticks[-1][0]

    def place(point: Point) -> Point:
        x, y = point
        level = log10(max(y, 10**low)) if logarithmic else y
        across = (x - left) / (right - left) if right > left else 0.5
        return across * WIDTH, -HEIGHT * (level - low) / ((high - low) or 1)

    shapes: list[Shape] = []
    for level, label in ticks:
        y = -HEIGHT * (level - low) / ((high - low) or 1)
        shapes.append(Line(points=((-4, y), (WIDTH, y)), stroke="faint", width=1))
        shapes.append(Text(at=(-8, y), text=label, size=9, anchor="end", fill="muted"))
    for x in dict.fromkeys((left, right)):
        shapes.append(Text(at=(place((x, high))[0], 12), text=f"{x:g}", size=9, fill="muted"))
    shapes.append(Text(at=(WIDTH / 2, 12), text=x_name, size=9.5, fill="muted"))
    shapes.append(Text(at=(-8, -HEIGHT - 16), text=y_name, size=9.5, anchor="start", fill="muted"))
    placed = [[place(point) for point in one.points] for one in series]
    shapes += [_curve(one, points) for one, points in zip(series, placed, strict=True)]
    order = sorted(range(len(series)), key=lambda k: placed[k][-1][1])
    heights = spread([placed[k][-1][1] for k in order], [11.0] * (len(order) - 1))
    for k, y in zip(order, heights, strict=True):
        role = "muted" if series[k].faint else series[k].role
        at = (max(placed[k][-1][0] + 8, WIDTH + 8), y)
        shapes.append(Text(at=at, text=series[k].name, size=9, anchor="start", fill=role))
    return Group(shapes=tuple(shapes), kind="frame")


def _curve(one: Series, points: Sequence[Point]) -> Group:
    role = "muted" if one.faint else one.role
    shapes: list[Shape] = [Line(points=tuple(points), stroke=role, width=1.2)] if len(points) > 1 else []
    if not one.faint or len(points) == 1:  # a single point has no line
        fill = role if not one.faint and ROLES.index(one.role) % 2 == 0 else "paper"
        radius = 2.4 if len(points) <= 40 else 1.2
        shapes += [Circle(centre=at, radius=radius, fill=fill, stroke=role, width=1.0) for at in points]
    label = ", ".join(f"{y:.4g}" for _, y in one.points[:64])
    return Group(shapes=tuple(shapes), kind="curve", title=f"{one.name}: {label}", data={"points": str(len(points))})


def _decades(highest: float, lowest: float) -> list[tuple[float, str]]:
    """Levels of a logarithmic axis, every power of ten or every second one."""
    top = ceil(log10(highest)) if highest > 0 else 0
    bottom = max(floor(log10(lowest)), top - _DECADES) if lowest > 0 else top - _DECADES
    bottom = min(bottom, top - 1)
    step = 1 if top - bottom <= 4 else 2
    return [(float(level), f"1e{level}") for level in range(top - step * ceil((top - bottom) / step), top + 1, step)]


def _steps(highest: float) -> list[tuple[float, str]]:
    """Levels of a linear axis from 0, at 1, 2 or 5 times a power of ten."""
    if not highest > 0:
        return [(0.0, "0"), (1.0, "1")]
    unit = 10 ** floor(log10(highest))
    step = next(unit * k for k in (0.2, 0.5, 1, 2) if highest <= 6 * unit * k)
    return [(k * step, f"{k * step:g}") for k in range(ceil(highest / step) + 1)]
