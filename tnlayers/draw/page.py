"""A page of panels: each drawing under its heading, side by side or below each other, with one legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tnlayers.draw.picture import Picture
from tnlayers.draw.scene import Circle, Group, Line, Shape, Text, groups, text_width
from tnlayers.draw.theme import check_theme

_MARGIN = 20.0
_BETWEEN = 44.0
_WIDEST = 1500.0  # panels that together are wider stand below each other
_HEADING = 13.0
_LEGEND = 10.5


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing with its heading: the first line in bold, the others in grey."""

    heading: tuple[str, ...]
    drawing: Group


def paged(panels: Sequence[Panel], theme: str, title: str, plus: Iterable[int] = ()) -> Picture:
    """Panels side by side as a picture, with one legend for the signs that have one.

    Args:
        panels: The panels, from left to right.
        theme: "light", "dark" or "auto".
        title: The picture's name.
        plus: Which panels stand behind a plus, as terms of a sum do.

    Raises:
        TNLayersError: If there is no such theme.
    """
    checked = check_theme(theme)
    drawing = _side_by_side(panels, set(plus))
    x, y, right, bottom = drawing.box
    legend = _legend([panel.drawing for panel in panels]).moved(_MARGIN, 0)
    size = right - x + 2 * _MARGIN, bottom - y + 2 * _MARGIN
    shapes = [drawing.moved(_MARGIN - x, _MARGIN - y)]
    if legend.shapes:
        size = (
            max(size[0], legend.box[2] + _MARGIN),
            size[1] + _MARGIN + legend.box[3] - legend.box[1],
        )
        shapes.append(legend.moved(0, size[1] - _MARGIN - legend.box[3]))
    scene = Group(shapes=tuple(shapes))
    words = ". ".join(", ".join(panel.heading) for panel in panels) + "."
    return Picture(scene=scene, size=size, theme=checked, title=title, description=words)


def _headed(panel: Panel) -> Group:
    """The drawing below its heading, both from the left."""
    lines: list[Shape] = [
        Text(
            at=(0, k * 1.45 * _HEADING),
            text=text,
            size=_HEADING if k == 0 else _HEADING - 2,
            anchor="start",
            bold=k == 0,
            fill="ink" if k == 0 else "muted",
        )
        for line in (panel.heading[0],)
        for k, text in enumerate((line, *panel.heading[1:]))
    ]
    words = Group(shapes=tuple(lines), kind="heading")
    x, y, right, _ = panel.drawing.box
    shift = max((words.box[2] - (right - x)) / 2, 0) if right - x < 300 else 0  # a small drawing is centred
    return Group(shapes=(words, panel.drawing.moved(shift - x, words.box[3] + 16 - y)), kind="panel")


def _side_by_side(panels: Sequence[Panel], plus: Iterable[int]) -> Group:
    """Panels from left to right with a plus between terms of a sum, or below each other where they are wide."""
    headed = [_headed(panel) for panel in panels]
    widths = [each.box[2] - each.box[0] for each in headed]
    lowest = min(each.box[3] - each.box[1] for each in headed)
    across = sum(widths) + _BETWEEN * (len(headed) - 1) <= _WIDEST
    shapes: list[Shape] = []
    x = y = 0.0
    for k, each in enumerate(headed):
        if k in plus:
            middle = (x - _BETWEEN / 2, lowest / 2) if across else (10.0, y - _BETWEEN / 2)
            shapes.append(Text(at=middle, text="+", size=22, bold=True))
        shapes.append(each.moved(x - each.box[0], y - each.box[1]))
        if across:
            x += widths[k] + _BETWEEN
        else:
            y += each.box[3] - each.box[1] + _BETWEEN
    return Group(shapes=tuple(shapes))


def _legend(drawings: Sequence[Group]) -> Group:
    """What the signs of these drawings mean, in one line."""
    kinds = {group.kind for drawing in drawings for group in groups(drawing)}
    entries: list[tuple[Shape, str]] = []
    if "network" in kinds:
        disc = Circle(centre=(7, 0), radius=6, fill="core", stroke="core-line")
        entries.append((disc, "core (larger: more parameters)"))
        if "bond" in kinds:
            entries.append((_dash("bond", 4), "bond (wider: larger)"))
        if "hyperedge" in kinds:
            entries.append((Circle(centre=(7, 0), radius=5, fill="hyper", stroke="paper"), "hyperedge"))
        entries += [(_dash("input", 3), "input mode"), (_dash("output", 3), "output mode")]
    if "tree" in kinds:
        entries += [(_dash("batch", 4), "carries the batch"), (_dash("weights", 4), "weights alone")]
        step = Circle(centre=(7, 0), radius=6, fill="paper", stroke="muted")
        entries.append((step, "step: its flops above, the bytes of its result below"))
    shapes: list[Shape] = []
    x = 0.0
    for sign, words in entries:
        shapes += [sign.moved(x, 0), Text(at=(x + 19, 0), text=words, size=_LEGEND, anchor="start", fill="muted")]
        x += 19 + text_width(words, _LEGEND) + 16
    return Group(shapes=tuple(shapes), kind="legend")


def _dash(role: str, width: float) -> Line:
    return Line(points=((0, 0), (14, 0)), stroke=role, width=width)
