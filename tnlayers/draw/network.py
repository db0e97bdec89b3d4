"""The diagram of a network: cores as discs, bonds as lines as wide as their dimension, inputs below, outputs above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tnlayers.draw.placement import place
from tnlayers.draw.routing import Curve, Routed, route
from tnlayers.draw.scene import Circle, Group, Line, Point
from tnlayers.draw.wiring import Wiring, wire_width

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

# Each is tried until no label touches anything; the last is taken as it is. A thicket of wires gets one try: there,
# texts touch lines at any scale.
_SCALES = (1.0, 1.2, 1.45, 1.75, 2.1, 2.6)
_THICKET = 80

Looks: TypeAlias = tuple[str, str, float]
_USUAL: Looks = ("core", "core-line", 1.5)
NO_LOOKS: Mapping[str, Looks] = {}


def network(graph: Graph, prefix: str = "") -> Group:
    """Draw one graph; the picture's corner is anywhere.

    Every core, bond, hyperedge and mode is a group of its own, with its name and size as data and a title in words.

    Args:
        graph: What to draw.
        prefix: The beginning of the cores' names that labels leave out.
    """
    wiring = Wiring(graph, prefix)
    for scale in _SCALES if len(wiring.wires) < _THICKET else _SCALES[2:3]:
        places = place(wiring, scale)
        routed = route(wiring, places, prefix)
        if routed.penalty == 0:
            break
    return drawn(wiring, places, routed)


def drawn(
    wiring: Wiring,
    places: list[Point],
    routed: Routed,
    looks: Mapping[str, Looks] = NO_LOOKS,
    inputs: Sequence[int] = (),
) -> Group:
    """Draw what has its places.

    Args:
        wiring: What is to be drawn.
        places: The centre of every vertex.
        routed: The lines and texts.
        looks: By a core's name its fill, the colour of its outline and its width, where they are not a core's usual.
        inputs: Bonds that are input modes, where what they belong to is drawn too.
    """
    vertices = _vertices(wiring, places, routed, looks)
    return Group(shapes=(*_wires(wiring, routed, inputs), *_legs(wiring, routed), *vertices), kind="network")


def _line(curve: Curve, size: int, role: str) -> Line:
    return Line(points=curve, cubic=True, stroke=role, width=wire_width(size))


def _wires(wiring: Wiring, routed: Routed, inputs: Sequence[int]) -> list[Group]:
    drawn = []
    for number, (wire, curve) in enumerate(zip(wiring.wires, routed.curves, strict=True)):
        a, b = (wiring.vertices[v].name for v in wire.ends)
        if wire.hyper:
            line = _line(curve, wire.size, "hyper")
            drawn.append(Group(shapes=(line,), kind="leg", title=f"{b}, on the hyperedge of size {wire.size}"))
        else:
            joins = f"{a} - {b}" if a != b else f"{a} with itself"
            drawn.append(
                Group(
                    shapes=(_line(curve, wire.size, "input" if wire.index in inputs else "bond"), routed.sizes[number]),
                    kind="bond",
                    title=f"bond {joins}, size {wire.size}",
                    data={"index": str(wire.index), "size": str(wire.size)},
                )
            )
    return drawn


def _legs(wiring: Wiring, routed: Routed) -> list[Group]:
    drawn = []
    for leg in routed.legs:
        side = "out" if leg.stub.output else "in"
        name = wiring.vertices[leg.stub.vertex].name
        drawn.append(
            Group(
                shapes=(_line(leg.line, leg.stub.size, "output" if leg.stub.output else "input"), leg.label),
                kind="mode",
                title=f"{side}put mode {leg.stub.mode} of size {leg.stub.size}, on {name}",
                data={"name": f"{side}_{leg.stub.mode}", "size": str(leg.stub.size)},
            )
        )
    return drawn


def _vertices(wiring: Wiring, places: list[Point], routed: Routed, looks: Mapping[str, Looks]) -> list[Group]:
    drawn = []
    for number, (vertex, centre) in enumerate(zip(wiring.vertices, places, strict=True)):
        sizes = "x".join(map(str, vertex.shape))
        if vertex.dot:
            disc = Circle(centre=centre, radius=vertex.radius, fill="hyper", stroke="paper")
            title, kind = f"hyperedge of size {sizes}", "hyperedge"
            data = {"index": str(vertex.indices[0]), "size": sizes}
        else:
            fill, stroke, width = looks.get(vertex.name, _USUAL)
            disc = Circle(centre=centre, radius=vertex.radius, fill=fill, stroke=stroke, width=width)
            title, kind = f"core {vertex.name}, shape {sizes}", "core"
            data = {"name": vertex.name, "size": sizes}
        drawn.append(Group(shapes=(disc, *routed.names[number]), kind=kind, title=title, data=data))
    return drawn
