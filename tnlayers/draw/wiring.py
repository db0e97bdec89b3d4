"""The topology of a diagram: a graph's cores and hyperedges as vertices, its bonds as wires, its open legs as stubs.

An index that joins two cores is a wire between them; one on two axes of one core is a wire that returns to it; one that
ends in a single open leg of one core is a stub. Every other index (a hyperedge: a CopyNode) is a dot of its own, with a
wire to each core axis and a stub for its open legs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from math import log2, log10, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """A core, or a hyperedge drawn as a dot.

    Attributes:
        name: The core's name; for a dot that of its index.
        shape: The core's shape; for a dot the one size of its index.
        dot: Whether it is a hyperedge.
        indices: The indices on it, in order of the core's axes.
    """

    name: str
    shape: tuple[int, ...]
    dot: bool
    indices: tuple[int, ...]

    @property
    def radius(self) -> float:
        """Its size in the picture."""
        return DOT_RADIUS if self.dot else core_radius(prod(self.shape))


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
    """

    def __init__(self, graph: Graph) -> None:
        self.vertices = [Vertex(name=c.name, shape=graph.shape(c), dot=False, indices=c.indices) for c in graph.cores]
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
