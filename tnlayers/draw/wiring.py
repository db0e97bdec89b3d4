"""The topology of a diagram: a graph's cores and hyperedges as vertices, its bonds as wires, its open legs as stubs.

An index that joins two cores is a wire between them; one on two axes of one core is a wire that returns to it; one that
ends in a single open leg of one core is a stub. Every other index (a hyperedge: a CopyNode) is a dot of its own, with a
wire to each core axis and a stub for its open legs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot, log2, log10, prod
from typing import TYPE_CHECKING

from tnlayers.draw.scene import text_width

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

NAME_SIZE = 10.0
_MOST_GROWN = 26.0  # names that need more stand beside their discs
DOT_RADIUS = 5.0


def core_radius(parameters: int) -> float:
    """The radius of a core's node, by the order of magnitude of its parameters: 23 for 1, 41 for a million.

    Example:
        >>> core_radius(1), core_radius(10_000)
        (23.0, 35.0)
    """
    return 23.0 + 3.0 * log10(max(parameters, 1))


def wire_width(size: int) -> float:
    """The width of a wire by the dimension of its index: one pixel for 1, and 0.9 more for each doubling."""
    return 1.0 + 0.9 * log2(max(size, 1))


def halves(name: str) -> list[str]:
    """A long name broken at the underscore nearest to its middle."""
    breaks = [k for k, letter in enumerate(name) if letter == "_" and 0 < k < len(name) - 1]
    if len(name) <= 9 or not breaks:
        return [name]
    k = min(breaks, key=lambda k: abs(k - len(name) / 2))
    return [name[:k], name[k + 1 :]]


def room_for(lines: Sequence[str]) -> float:
    """The radius of the disc that these lines of text fit into, one below the other."""
    middle = (len(lines) - 1) / 2
    return max(
        hypot(0.54 * text_width(text, NAME_SIZE), (1.2 * abs(k - middle) + 0.3) * NAME_SIZE)
        for k, text in enumerate(lines)
    )


def _grown(graph: Graph, prefix: str) -> float:
    """How much larger than by their parameters all discs are, so that every name fits into its own."""
    missing = [0.0]
    for core in graph.cores:
        parameters, name = prod(graph.shape(core)), core.name.removeprefix(prefix)
        needed = min(room_for([*lines, count_text(parameters)]) for lines in ([name], halves(name)))
        missing.append(needed - core_radius(parameters))
    return min(max(missing), _MOST_GROWN)


def count_text(count: int) -> str:
    """A count with narrow spaces between the thousands."""
    return f"{count:,}".replace(",", "\u2009")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """A core, or a hyperedge drawn as a dot.

    Attributes:
        name: The core's name; for a dot that of its index.
        shape: The core's shape; for a dot the one size of its index.
        dot: Whether it is a hyperedge.
        indices: The indices on it, in order of the core's axes.
        grown: What is added to a core's radius for the sake of the names.
    """

    name: str
    shape: tuple[int, ...]
    dot: bool
    indices: tuple[int, ...]
    grown: float = 0.0

    @property
    def radius(self) -> float:
        """Its size in the picture."""
        return DOT_RADIUS if self.dot else core_radius(prod(self.shape)) + self.grown


@dataclass(frozen=True, slots=True)
class Wire:
    """A line between two vertices, or from one back to itself; `hyper` if it belongs to a dot, which has the size."""

    index: int
    ends: tuple[int, int]
    size: int
    hyper: bool


@dataclass(frozen=True, slots=True)
class Stub:
    """An open leg: mode number `mode` of the inputs or outputs."""

    vertex: int
    output: bool
    mode: int
    size: int


class Wiring:
    """What is to be drawn of a graph, without places.

    Attributes:
        vertices: The cores in order of declaration, then the dots.
        wires: The bonds, and the lines to dots.
        stubs: The open legs, inputs first.
        grown: What is added to the radius of every core, so that all names fit.

    Args:
        graph: The network.
        prefix: The beginning of the cores' names that labels leave out.
    """

    def __init__(self, graph: Graph, prefix: str = "") -> None:
        self.grown = _grown(graph, prefix)
        self.vertices = [
            Vertex(name=c.name, shape=graph.shape(c), dot=False, indices=c.indices, grown=self.grown)
            for c in graph.cores
        ]
        self.wires: list[Wire] = []
        self.stubs: list[Stub] = []
        opened = defaultdict(list)
        for output, modes in ((False, graph.inputs), (True, graph.outputs)):
            for mode, index in enumerate(modes):
                opened[index].append((output, mode))
        axes = defaultdict(list)
        for number, core in enumerate(graph.cores):
            for index in core.indices:
                axes[index].append(number)
        for index in dict.fromkeys([*axes, *graph.inputs, *graph.outputs]):
            self._add(index, graph.sizes[index], axes[index], opened[index])
        self.stubs.sort(key=lambda stub: (stub.output, stub.mode))

    def _add(self, index: int, size: int, ends: list[int], opened: list[tuple[bool, int]]) -> None:
        if len(ends) == 2 and not opened:
            self.wires.append(Wire(index, (ends[0], ends[1]), size, hyper=False))
            return
        if len(ends) == 1 and len(opened) == 1:
            vertex = ends[0]
        else:
            vertex = len(self.vertices)
            self.vertices.append(Vertex(name=f"index {index}", shape=(size,), dot=True, indices=(index,)))
            self.wires += [Wire(index, (vertex, end), size, hyper=True) for end in ends]
        self.stubs += [Stub(vertex, output, mode, size) for output, mode in opened]

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """The vertices that each is joined to, each once, in order of the wires."""
        found: list[dict[int, None]] = [{} for _ in self.vertices]
        for wire in self.wires:
            a, b = wire.ends
            if a != b:
                found[a][b] = found[b][a] = None
        return [list(each) for each in found]

    def open_legs(self, vertex: int) -> tuple[list[Stub], list[Stub]]:
        """The stubs of a vertex: inputs, outputs."""
        own = [stub for stub in self.stubs if stub.vertex == vertex]
        return [stub for stub in own if not stub.output], [stub for stub in own if stub.output]
