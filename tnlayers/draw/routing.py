"""The lines and labels of a diagram between vertices that have their places.

Wires are straight where nothing is in their way, else bent around it; wires between the same two vertices fan out.
Open legs go straight down from their core if they are inputs, up if outputs, leaning where that is taken. A label takes
the first free place beside its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, prod, radians, sin
from typing import TypeAlias

from tnlayers.draw.room import SERIOUS, Room, at, bezier, straight
from tnlayers.draw.scene import Box, Point, Text, around, text_width
from tnlayers.draw.wiring import NAME_SIZE, Stub, Wire, Wiring, count_text, halves, room_for, wire_width

Curve: TypeAlias = tuple[Point, Point, Point, Point]

_LEANS = (0, 24, -24, 42, -42, 60, -60, 78, -78)  # degrees that an open leg may lean
_LENGTHS = (24.0, 38.0, 56.0)
_MANY = 6  # legs on one side of a vertex: more stand like rays, of several lengths in turns
_RAYS = (24.0, 50.0, 76.0, 102.0)
_SMALL_LEANS = (0, 4, -4, 8, -8)
_BETWEEN = 32.0  # pixels between neighbouring rays where the first labels begin
_BENDS = (0.2, -0.2, 0.35, -0.35, 0.5, -0.5, 0.7, -0.7)  # of a wire's length
_FAN = 34.0  # pixels between wires that join the same two vertices
_LABEL_PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
_TEXT = 11.0
_SUBSCRIPTS = str.maketrans("0123456789", "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089")


@dataclass(frozen=True, slots=True)
class Leg:
    """An open leg with its place: the line from its vertex, and its label."""

    stub: Stub
    line: Curve
    label: Text


@dataclass(frozen=True, slots=True)
class Routed:
    """Everything of a diagram but the discs: lines and texts with their places.

    Attributes:
        curves: One per wire.
        legs: One per open leg.
        sizes: The label of each wire that has one, by its number.
        names: The lines of text of each vertex, by its number.
        penalty: What is touched that should not be; 0 where all is clear.
    """

    curves: tuple[Curve, ...]
    legs: tuple[Leg, ...]
    sizes: dict[int, Text]
    names: dict[int, tuple[Text, ...]]
    penalty: float


def route(wiring: Wiring, places: Sequence[Point], prefix: str = "") -> Routed:
    """Find lines and labels, one after the other, each the best that the earlier ones leave."""
    room = Room([(place, vertex.radius) for place, vertex in zip(places, wiring.vertices, strict=True)])
    curves = _wires(wiring, places, room)
    legs = tuple(
        leg
        for vertex in range(len(wiring.vertices))
        for stubs, up in zip(wiring.open_legs(vertex), (False, True), strict=True)
        for leg in _legs(stubs, up, places[vertex], wiring.vertices[vertex].radius, room)
    )
    sizes = {
        k: _size_label(wire, curve, room)
        for k, (wire, curve) in enumerate(zip(wiring.wires, curves, strict=True))
        if not wire.hyper
    }
    names = {v: _name(wiring, v, prefix, places[v], room) for v in range(len(wiring.vertices))}
    return Routed(curves, legs, sizes, names, room.penalty)


def _wires(wiring: Wiring, places: Sequence[Point], room: Room) -> tuple[Curve, ...]:
    alike = Counter(tuple(sorted(wire.ends)) for wire in wiring.wires)
    drawn: Counter[tuple[int, ...]] = Counter()
    curves = []
    for wire in wiring.wires:
        pair = tuple(sorted(wire.ends))
        a, b = pair
        offset = (drawn[pair] - (alike[pair] - 1) / 2) * _FAN
        drawn[pair] += 1
        curve = _loop(wiring, places, a) if a == b else _wire(wire, (a, b), places, offset, room)
        room.add_line(bezier(curve), wire_width(wire.size))
        curves.append(curve)
    return tuple(curves)


def _wire(wire: Wire, ends: tuple[int, int], places: Sequence[Point], offset: float, room: Room) -> Curve:
    """The straight line, or the flattest curve that touches no other vertex."""
    start, end = places[ends[0]], places[ends[1]]
    length = hypot(end[0] - start[0], end[1] - start[1])
    width = wire_width(wire.size)
    choices = [_bent(start, end, offset), *(_bent(start, end, offset + bend * length) for bend in _BENDS)]
    for curve in choices:
        if room.line_penalty(bezier(curve), width, ends) < SERIOUS:
            return curve
    return choices[0]


def _bent(start: Point, end: Point, bend: float) -> Curve:
    """A curve whose middle is `bend` pixels to the left of the straight line."""
    p, q, r, s = straight(start, end)
    length = hypot(end[0] - start[0], end[1] - start[1])
    dx, dy = (end[1] - start[1]) / length * bend / 0.75, (start[0] - end[0]) / length * bend / 0.75
    return p, (q[0] + dx, q[1] + dy), (r[0] + dx, r[1] + dy), s


def _loop(wiring: Wiring, places: Sequence[Point], vertex: int) -> Curve:
    """A wire from a core back to itself, in the widest gap between its neighbours and its open legs."""
    x, y = places[vertex]
    taken = [atan2(places[u][1] - y, places[u][0] - x) for u in wiring.neighbours[vertex]]
    taken += [side for side, stubs in zip((pi / 2, -pi / 2), wiring.open_legs(vertex), strict=True) if stubs]
    angles = [pi * k / 8 for k in range(-8, 8)]
    best = max(angles, key=lambda angle: min((1 - cos(angle - other) for other in taken), default=0))
    reach = wiring.vertices[vertex].radius + 46
    first, last = ((x + reach * cos(best + turn), y + reach * sin(best + turn)) for turn in (-pi / 6, pi / 6))
    return (x, y), first, last, (x, y)


def _legs(stubs: Sequence[Stub], up: bool, centre: Point, radius: float, room: Room) -> list[Leg]:
    """The open legs of one side of a vertex, fanned out in the order of their modes."""
    legs = []
    near = [n for n, (place, _) in enumerate(room.discs) if place == centre]
    # So far out that a label fits between the rays on its sides.
    out = max(0.0, _BETWEEN / sin(radians(150 / max(len(stubs) - 1, 1))) - radius)
    for k, stub in enumerate(stubs):
        fan = (k - (len(stubs) - 1) / 2) * min(52, 150 / max(len(stubs) - 1, 1))
        many = len(stubs) > _MANY
        lengths = [out + _RAYS[(k + turn) % len(_RAYS)] for turn in range(len(_RAYS))] if many else _LENGTHS
        choices = [
            (_leg(stub, up, fan + lean, length, centre, radius), abs(lean) / 30 + (rank if many else length / 30))
            for lean in (_SMALL_LEANS if many else _LEANS)
            if abs(fan + lean) <= 90
            for rank, length in enumerate(lengths)
        ]

        def penalty(choice: tuple[Leg, float]) -> float:
            leg, extra = choice
            line = bezier(leg.line)
            crossed = room.line_penalty(line[len(line) // 4 :], wire_width(leg.stub.size), near)
            return extra + room.text_penalty(leg.label.box) + crossed

        leg = min(choices, key=penalty)[0]
        line, width = bezier(leg.line), wire_width(stub.size)
        room.penalty += room.text_penalty(leg.label.box) + room.texts_crossed(line, width)
        room.add_line(line, width)
        room.add_boxes([leg.label.box])
        legs.append(leg)
    return legs


def _leg(stub: Stub, up: bool, lean: float, length: float, centre: Point, radius: float) -> Leg:
    turn, side = radians(lean), -1 if up else 1
    dx, dy = sin(turn), side * cos(turn)
    end = (centre[0] + (radius + length) * dx, centre[1] + (radius + length) * dy)
    text = f"{'out' if up else 'in'}{str(stub.mode).translate(_SUBSCRIPTS)} {stub.size}"
    width = text_width(text, _TEXT)
    # In the leg's own direction, as far as the end needs to be outside the label.
    away = min((width / 2 + 4) / max(abs(dx), 1e-6), (0.6 * _TEXT + 4) / max(abs(dy), 1e-6))
    beside = (end[0] + away * dx, end[1] + away * dy)
    return Leg(stub, straight(centre, end), Text(at=beside, text=text, size=_TEXT))


def _size_label(wire: Wire, curve: Curve, room: Room) -> Text:
    """The size of a bond beside the part of it that is not hidden by its cores."""
    points = bezier(curve)
    ends = [room.discs[v] for v in wire.ends]
    shown = [
        k
        for k, (x, y) in enumerate(points)
        if all(hypot(x - place[0], y - place[1]) > radius for place, radius in ends)
    ] or list(range(len(points)))
    first, last = shown[0] / (len(points) - 1), shown[-1] / (len(points) - 1)
    text = str(wire.size)
    half = text_width(text, _TEXT) / 2, 0.6 * _TEXT
    choices = []
    for t in _LABEL_PLACES:
        here = first + t * (last - first)
        (x, y), ahead, behind = at(curve, here), at(curve, min(here + 0.02, 1)), at(curve, max(here - 0.02, 0))
        length = hypot(ahead[0] - behind[0], ahead[1] - behind[1]) or 1.0
        nx, ny = (ahead[1] - behind[1]) / length, (behind[0] - ahead[0]) / length
        if ny > 0 or (ny == 0 and nx < 0):  # above the line first, or to the right of a vertical one
            nx, ny = -nx, -ny
        away = wire_width(wire.size) / 2 + 3 + abs(nx) * half[0] + abs(ny) * half[1]
        choices += [
            Text(at=(x + side * away * nx, y + side * away * ny), text=text, size=_TEXT) for side in (1, -1, 1.6, -1.6)
        ]
    return _take(choices, room)


def _take(choices: Sequence[Text], room: Room) -> Text:
    best = min(choices, key=lambda text: room.text_penalty(text.box))
    room.penalty += room.text_penalty(best.box)
    room.add_boxes([best.box])
    return best


def _name(wiring: Wiring, vertex: int, prefix: str, centre: Point, room: Room) -> tuple[Text, ...]:
    """A core's name over its number of parameters, inside where they fit; a dot's size beside it."""
    item = wiring.vertices[vertex]
    if item.dot:
        return _beside([str(item.shape[0])], _TEXT, centre, item.radius, room)
    count, name = count_text(prod(item.shape)), item.name.removeprefix(prefix)
    for lines in ([name, count], [*halves(name), count]):
        if room_for(lines) <= item.radius + 0.01:
            return _lines(lines, centre, NAME_SIZE)
    return _beside([*halves(name), count], NAME_SIZE, centre, item.radius, room)


def _lines(texts: Sequence[str], centre: Point, size: float) -> tuple[Text, ...]:
    """Lines of text around a point, the first in bold."""
    top = centre[1] - (len(texts) - 1) * 0.6 * size
    return tuple(
        Text(at=(centre[0], top + 1.2 * size * k), text=text, size=size, bold=k == 0) for k, text in enumerate(texts)
    )


def _beside(texts: Sequence[str], size: float, centre: Point, radius: float, room: Room) -> tuple[Text, ...]:
    """Lines of text outside a vertex, where they touch nothing."""
    width, height = max(text_width(text, size) * 1.08 for text in texts), 1.2 * size * len(texts)
    choices = []
    for away in (4, 10, 18, 30, 44, 60):
        for degrees in (-35, -145, 35, 145, 0, 180, -60, -120, 60, 120, -90, 90):
            dx, dy = cos(radians(degrees)), sin(radians(degrees))
            x, y = centre[0] + (radius + away) * dx, centre[1] + (radius + away) * dy
            choices.append(_lines(texts, (x + dx * width / 2, y + dy * height / 2), size))
    boxes: list[Box] = [around(text.box for text in lines) for lines in choices]
    penalties = [room.text_penalty(box) for box in boxes]
    best = penalties.index(min(penalties))
    room.penalty += penalties[best]
    room.add_boxes([boxes[best]])
    return choices[best]
