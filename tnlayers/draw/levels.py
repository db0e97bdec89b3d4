"""The level of a diagram on which a vertex is: inputs low, outputs high, what only joins other cores between or above.

With d_in and d_out a vertex's distances from the nearest core that reads an input, and from the nearest that writes an
output, the level is d_in - d_out: below where it only reads, above where it only writes. An internal core whose nearest
inputs and outputs are on the same cores (the node of a tree over its leaves) goes above them instead, by how long a
random walk takes from it to a core with modes: this orders the levels of trees and MERAs without knowing their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tnlayers.draw.wiring import Wiring

_WALK_SWEEPS = 2000  # of Gauss and Seidel, for at most a few dozen unknowns
_WALK_DIGITS = 4  # walks that agree to these are equally long: the vertices are level


@dataclass(frozen=True, slots=True)
class Reach:
    """The distance to the nearest of some vertices, and which those nearest are."""

    distance: int
    sources: frozenset[int]


def levels(wiring: Wiring, opened: frozenset[int]) -> dict[int, int]:
    """The level of every vertex but the dots with open legs (`opened`), from 0 upwards without a gap."""
    reads = [v for v in range(len(wiring.vertices)) if _touches(wiring, v, 0, opened)]
    writes = [v for v in range(len(wiring.vertices)) if _touches(wiring, v, 1, opened)]
    everywhere = dict.fromkeys(range(len(wiring.vertices)), Reach(0, frozenset()))  # where there is no way to any mode
    d_in, d_out = ({**everywhere, **_reach(wiring, ends)} for ends in (reads, writes))
    body = [v for v in range(len(wiring.vertices)) if v not in opened]
    above = [v for v in body if d_in[v] == d_out[v] and d_in[v].distance > 0]
    heights = {v: d_in[v].distance - d_out[v].distance for v in body if v not in above}
    walk = _walk(wiring, frozenset(above))
    # Of a core and a dot that are level the dot goes up: side by side, its wires would go around the core.
    steps = {v: (walk[v], wiring.vertices[v].dot) for v in body}
    for v in sorted(above, key=lambda v: steps[v]):
        below = [heights[u] for u in wiring.neighbours[v] if u in heights and steps[u] < steps[v]]
        heights[v] = 1 + max(below, default=0)
    rank = {height: k for k, height in enumerate(sorted(set(heights.values())))}
    return {v: rank[height] for v, height in heights.items()}


def _touches(wiring: Wiring, vertex: int, side: int, opened: frozenset[int]) -> bool:
    """Whether a vertex has an input (side 0) or output (1), itself or through a dot."""
    through = [u for u in wiring.neighbours[vertex] if u in opened]
    return any(wiring.open_legs(v)[side] for v in (vertex, *through))


def _reach(wiring: Wiring, sources: Iterable[int]) -> dict[int, Reach]:
    """Breadth first from all sources at once."""
    found = {v: Reach(0, frozenset((v,))) for v in sources}
    frontier = list(found)
    while frontier:
        reached: dict[int, frozenset[int]] = {}
        for v in frontier:
            for u in wiring.neighbours[v]:
                if u not in found:
                    reached[u] = reached.get(u, frozenset()) | found[v].sources
        distance = found[frontier[0]].distance + 1
        found |= {u: Reach(distance, nearest) for u, nearest in reached.items()}
        frontier = list(reached)
    return found


def _walk(wiring: Wiring, inner: frozenset[int]) -> dict[int, float]:
    """The mean number of steps of a random walk from each vertex until it leaves the inner ones."""
    steps = [0.0] * len(wiring.vertices)
    for _ in range(_WALK_SWEEPS):
        change = 0.0
        for v in inner:
            new = 1 + sum(steps[u] for u in wiring.neighbours[v]) / len(wiring.neighbours[v])
            change = max(change, new - steps[v])
            steps[v] = new
        if change < 10.0 ** -(_WALK_DIGITS + 2):
            break
    return {v: round(step, _WALK_DIGITS) for v, step in enumerate(steps)}
