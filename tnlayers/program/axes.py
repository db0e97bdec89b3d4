"""Axes: orders of axes as index tuples, the shapes that they mean, and where along a path each index is summed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

from tnlayers.declare.graph import Contraction

Path: TypeAlias = tuple[tuple[int, int], ...]
Indices: TypeAlias = tuple[int, ...]


def ends_of(contraction: Contraction, indices: Sequence[Indices], place: Sequence[int], path: Path) -> dict[int, int]:
    """The number of the pair that sums each index; outputs follow all pairs, in their order."""
    below = [set(indices[k]) for k in place]
    alive = set(range(len(place)))
    ends = {i: len(path) + k for k, i in enumerate(contraction.output)}
    for number, (a, b) in enumerate(path):
        alive -= {a, b}
        others = {*contraction.output}.union(*(below[k] for k in alive))
        merged = below[a] | below[b]
        ends.update((i, number) for i in merged - others)
        alive.add(len(below))
        below.append(merged & others)
    return ends


def shape_of(contraction: Contraction, groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """One size per group; -1 for the group that the batch is in."""
    return tuple(-1 if contraction.batch in group else prod(contraction.sizes[i] for i in group) for group in groups)


def neighbours(group: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether a group of axes lies side by side in memory, in order, so that it can be viewed as one axis."""
    if not group:
        return True
    start = axes.index(group[0])
    return list(axes[start : start + len(group)]) == list(group)
