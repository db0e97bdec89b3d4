"""Estimated against measured times, on two logarithmic axes: on the diagonal they agree."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from tnlayers.draw.figures import spread
from tnlayers.draw.page import Panel, paged
from tnlayers.draw.picture import Picture
from tnlayers.draw.scene import Circle, Group, Line, Shape, Text
from tnlayers.planning.measured import Measurement, Timed
from tnlayers.planning.text import time_text

_SIDE = 230.0
_ROLES = {"this order": "batch", "planner": "weights", "dense": "output"}


def draw_measured(things: Sequence[Measurement], theme: str) -> Picture:
    """A panel per measurement: a dot per order, a line for the middle half of its passes."""
    panels = []
    for one in things:
        batch = "" if one.batch is None else f", batch {one.batch}"
        caption = f"{one.dtype} on {one.backend}, a pass of {one.objective}; on the diagonal, estimate and median agree"
        panels.append(Panel((f"{one.title}{batch}", caption), _frame(one.rows)))
    return paged(panels, theme, " and ".join(f"Times of {one.title}" for one in things))


def _frame(rows: Sequence[Timed]) -> Group:
    ends = [value for row in rows for value in (row.estimate, row.low, row.high)]
    low, high = floor(log10(min(ends))), ceil(log10(max(ends)))
    high = max(high, low + 1)

    def along(seconds: float) -> float:
        return _SIDE * (log10(seconds) - low) / (high - low)

    shapes: list[Shape] = [Line(points=((0, 0), (_SIDE, -_SIDE)), stroke="muted", width=1)]
    for level in range(low, high + 1):
        at, text = along(10.0**level), time_text(10.0**level)
        shapes += [
            Line(points=((-4, -at), (_SIDE, -at)), stroke="faint", width=1),
            Line(points=((at, 4), (at, -_SIDE)), stroke="faint", width=1),
            Text(at=(-8, -at), text=text, size=9, anchor="end", fill="muted"),
            Text(at=(at, 13), text=text, size=9, fill="muted"),
        ]
    shapes.append(Text(at=(_SIDE / 2, 27), text="estimate", size=9.5, fill="muted"))
    shapes.append(Text(at=(-8, -_SIDE - 16), text="measured", size=9.5, anchor="start", fill="muted"))
    order = sorted(rows, key=lambda row: -along(row.seconds))
    heights = spread([-along(row.seconds) for row in order], [11.0] * (len(order) - 1))
    for row, y in zip(order, heights, strict=True):
        role, x = _ROLES.get(row.name, "hyper"), along(row.estimate)
        dot: list[Shape] = [
            Line(points=((x, -along(row.low)), (x, -along(row.high))), stroke=role, width=2),
            Circle(centre=(x, -along(row.seconds)), radius=3.4, fill=role, stroke="paper", width=1.0),
            Text(at=(_SIDE + 10, y), text=f"{row.name}, {time_text(row.seconds)}", size=9, anchor="start", fill=role),
        ]
        title = f"{row.name}: {time_text(row.seconds)}, estimated {time_text(row.estimate)}"
        shapes.append(Group(shapes=tuple(dot), kind="timed", title=title))
    return Group(shapes=tuple(shapes), kind="frame")
