"""A contraction under way, to be drawn: what is left of the operands, and the place of each.

`x` is below its network, joined to it by the input modes. The result of two operands is drawn where that of its cores
stood that is nearest to the middle of all its cores, so that nothing comes to stand on something else; what carries the
batch stays below. The batch itself is not drawn: it is in the colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TypeAlias

from tnlayers.declare.graph import Contraction, Graph
from tnlayers.draw.placement import place
from tnlayers.draw.scene import Point
from tnlayers.draw.wiring import Wiring
from tnlayers.planning.plan import Plan
from tnlayers.program.axes import Path

Places: TypeAlias = dict[str, Point]

_RISE = 112.0  # between `x` and what is lowest above it
_SLOPE = 0.42  # the least of a line from `x`: flatter ones would touch the cores that they pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is left after some steps.

    Attributes:
        registers: The register of each thing that is left, in order.
        names: What each is called: an operand's name, or "step 2".
        members: The operands in each.
        indices: The axes of each, repeated and lonely ones gone.
    """

    registers: tuple[int, ...]
    names: tuple[str, ...]
    members: tuple[frozenset[int], ...]
    indices: tuple[tuple[int, ...], ...]


def reduced(contraction: Contraction) -> tuple[tuple[int, ...], ...]:
    """The operands' axes without those that an operand settles alone, which is done before anything else.

    Example:
        >>> import tnlayers as tnl
        >>> from tnlayers.declare.graph import forward
        >>> reduced(forward(tnl.spec("lowrank(in=8, out=4, rank=2)").graph, 10))
        ((3, 0), (0, 1), (1, 2))
    """
    found = []
    for k, indices in enumerate(contraction.operands):
        others = {*contraction.output}.union(*contraction.operands[:k], *contraction.operands[k + 1 :])
        found.append(tuple(i for i in dict.fromkeys(indices) if i in others))
    return tuple(found)


def stage(contraction: Contraction, path: Sequence[tuple[int, int]]) -> Stage:
    """What is left after the steps of a path, which need not be complete."""
    operands = len(contraction.operands)
    indices = dict(enumerate(reduced(contraction)))
    members = {k: frozenset((k,)) for k in indices}
    for number, (a, b) in enumerate(path):
        first, second = indices.pop(a), indices.pop(b)
        kept = {*contraction.output}.union(*indices.values())
        indices[operands + number] = tuple(i for i in dict.fromkeys((*first, *second)) if i in kept)
        members[operands + number] = members[a] | members[b]
    return Stage(
        registers=tuple(indices),
        names=tuple(contraction.names[k] if k < operands else f"step {k - operands + 1}" for k in indices),
        members=tuple(members[k] for k in indices),
        indices=tuple(indices.values()),
    )


def rest(contraction: Contraction, left: Stage) -> Contraction:
    """What is still to be computed, as a contraction of its own."""
    return Contraction(
        names=left.names,
        operands=left.indices,
        output=contraction.output,
        sizes=contraction.sizes,
        batch=contraction.batch,
    )


def finished(contraction: Contraction, path: Path, left: Stage, end: Plan | None) -> Path:
    """A path with the steps of another plan, that of the rest, behind its own."""
    registers = list(left.registers)
    steps = list(path)
    for a, b in () if end is None else end.path:
        steps.append((registers[a], registers[b]))
        registers.append(len(contraction.operands) + len(steps) - 1)
    return tuple(steps)


def operand_places(graph: Graph, *, x: bool = True) -> Places:
    """Where the cores, the hyperedges (by the name of their vertex) and `x` stand before the first step.

    Args:
        graph: The network.
        x: Whether there is an `x` below it.
    """
    wiring = Wiring(graph)
    found = place(wiring, 1.1)
    places = {vertex.name: point for vertex, point in zip(wiring.vertices, found, strict=True)}
    if not x:
        return places
    reads = [point for vertex, point in zip(wiring.vertices, found, strict=True) if {*vertex.indices} & {*graph.inputs}]
    across = mean(x for x, _ in reads or found)
    low = max(point[1] + vertex.radius for vertex, point in zip(wiring.vertices, found, strict=True))
    reach = max(abs(x - across) for x, _ in found)
    places["x"] = (across, low + max(_RISE, _SLOPE * reach))
    return places
