"""The overlap <A, B>, the sum over all entries of conj(A) * B of two networks, as one contraction: no weight is built.

       a_0 ---- a_1 ---- a_2       A's cores, conjugated
       ||       ||       ||        open indices (inputs and outputs) are joined, summed ones are each network's own
       b_0 ---- b_1 ---- b_2       B's cores

Three things make it exact for every declared layer:

- An index that is input and output at once stays one index: the zeros of its diagonal are neither built nor counted.
- Networks that split their features differently (2x3x2 and 2x6) are read over a common refinement: a mode of 6 is also
  modes of 3 and 2, in the same memory. 3x4 and 2x6 have none.
- Padded features do not count. "The features below N" is itself a network over the digits of the feature, of bond 2:
  it encodes whether the digits so far equal those of N, or are already less.

Invariant: like all that is left of "run", nothing here holds an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import TypeAlias

from tnlayers.declare.graph import Contraction, Graph

# An axis of the doubled network: a refined mode ("in" or "out", position), a state of a mask, or a summed index of the
# first or second network (0 or 1, index).
Leg: TypeAlias = tuple[str | int, int]


@dataclass(frozen=True, slots=True)
class Below:
    """The network that is 1 where a feature is below a limit and 0 elsewhere: a chain of one core per digit, bond 2.

    Attributes:
        modes: The size of each digit, slowest first.
        limit: How many features count, from 1 to the product of the modes less 1.
    """

    modes: tuple[int, ...]
    limit: int

    @property
    def digits(self) -> tuple[int, ...]:
        """The limit, digit by digit.

        Example:
            >>> Below((2, 3, 2), 9).digits  # 9 = 1 * 6 + 1 * 2 + 1
            (1, 1, 1)
        """
        rest, digits = self.limit, []
        for size in reversed(self.modes):
            rest, digit = divmod(rest, size)
            digits.append(digit)
        return tuple(reversed(digits))


@dataclass(frozen=True, slots=True)
class Overlap:
    """The overlap of two networks, ready to be planned.

    Attributes:
        contraction: Its operands are A's cores, B's cores, and the cores of each mask.
        masks: What leaves padded features out; empty where nothing is padded.
    """

    contraction: Contraction
    masks: tuple[Below, ...]


@lru_cache(maxsize=1024)
def overlap(a: Graph, b: Graph, features: tuple[int, int], keep: int | None = None) -> Overlap | None:
    """The overlap of two networks of one layer, or of one network with itself.

    Args:
        a: The network whose entries are conjugated.
        b: The other one.
        features: (in_features, out_features) that count; the modes hold padding beyond.
        keep: For a network with itself, a summed index that both share and that stays open: entry `i` of the result
            is the squared norm of what the network is with that index fixed at `i`. None sums everything.

    Returns:
        The contraction, or None where the modes of the two have no common refinement.

    Example:
        >>> import tnlayers as tnl
        >>> graph = tnl.spec("mpo(in=2x3, out=3x2, bond=4)").graph
        >>> c = overlap(graph, graph, (6, 6)).contraction
        >>> c.equation(*c.operands, c.output)
        'acd,def,acg,gef->'
    """
    ins, outs = refined(a.in_modes, b.in_modes), refined(a.out_modes, b.out_modes)
    if ins is None or outs is None:
        return None
    doubled = _Doubled((a, b), {"in": ins, "out": outs})
    if not doubled.share_modes():
        return None
    if keep is not None:
        doubled.join((0, keep), (1, keep))
    names, operands = [], []
    for which, graph in enumerate((a, b)):
        names += [core.name + "'" * (1 - which) for core in graph.cores]
        operands += [doubled.axes(which, core.indices) for core in graph.cores]
    masks = []
    for side, modes, limit in (("in", ins, features[0]), ("out", outs, features[1])):
        if limit < prod(modes):
            masks.append(Below(modes, limit))
            names += [f"below_{limit}_{k}" for k in range(len(modes))]
            operands += doubled.mask_axes(side, len(modes))
    output = () if keep is None else doubled.axes(0, (keep,))
    contraction = Contraction(names=tuple(names), operands=tuple(operands), output=output, sizes=tuple(doubled.sizes))
    return Overlap(contraction, tuple(masks))


def refined(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...] | None:
    """The coarsest modes that split the modes of both lists, without modes of size 1; None where there are none.

    Example:
        >>> refined((2, 3, 2), (2, 6)), refined((4, 3), (2, 6)), refined((3, 4), (2, 6))
        ((2, 3, 2), (2, 2, 3), None)
    """
    strides = sorted({prod(modes[k:]) for modes in (first, second) for k in range(len(modes) + 1)})
    pairs = list(pairwise(strides))
    if prod(first) != prod(second) or any(large % small for small, large in pairs):
        return None
    return tuple(large // small for small, large in reversed(pairs))


class _Doubled:
    """The axes of two networks while they are joined: which legs are one, and the number of each."""

    def __init__(self, graphs: tuple[Graph, Graph], modes: dict[str, tuple[int, ...]]) -> None:
        self.graphs = graphs
        self.modes = modes
        self.sizes: list[int] = []
        self._legs: list[dict[int, tuple[Leg, ...]]] = [{i: ((k, i),) for i in g.summed} for k, g in enumerate(graphs)]
        self._joined: dict[Leg, Leg] = {}
        self._numbers: dict[Leg, int] = {}

    def share_modes(self) -> bool:
        """Give every open index its refined modes; False where one that is input and output is split in two ways."""
        for graph, legs in zip(self.graphs, self._legs, strict=True):
            for side, indices in (("in", graph.inputs), ("out", graph.outputs)):
                groups = _groups([graph.sizes[i] for i in indices], self.modes[side])
                for index, positions in zip(indices, groups, strict=True):
                    own = tuple((side, p) for p in positions)
                    other = legs.setdefault(index, own)
                    if [self._size(leg) for leg in other] != [self._size(leg) for leg in own]:
                        return False
                    for one, two in zip(other, own, strict=True):
                        self.join(one, two)
        return True

    def join(self, one: Leg, two: Leg) -> None:
        """Make two legs one index."""
        one, two = self._find(one), self._find(two)
        if one != two:
            self._joined[two] = one

    def axes(self, which: int, indices: Sequence[int]) -> tuple[int, ...]:
        """The axes of one core of the first (0) or second (1) network."""
        return tuple(self._number(leg) for i in indices for leg in self._legs[which][i])

    def mask_axes(self, side: str, count: int) -> list[tuple[int, ...]]:
        """The axes (state before, digit, state after) of each core of a mask; the ends lack the outer state."""
        axes = []
        for k in range(count):
            before = [(f"{side} below", k - 1)] if k else []
            after = [(f"{side} below", k)] if k < count - 1 else []
            axes.append(tuple(self._number(leg) for leg in (*before, (side, k), *after)))
        return axes

    def _find(self, leg: Leg) -> Leg:
        while leg in self._joined:
            leg = self._joined[leg]
        return leg

    def _number(self, leg: Leg) -> int:
        leg = self._find(leg)
        if leg not in self._numbers:
            self._numbers[leg] = len(self.sizes)
            self.sizes.append(self._size(leg))
        return self._numbers[leg]

    def _size(self, leg: Leg) -> int:
        kind, k = leg
        if isinstance(kind, int):
            return self.graphs[kind].sizes[k]
        return self.modes[kind][k] if kind in self.modes else 2


def _groups(sizes: Sequence[int], modes: Sequence[int]) -> Iterator[range]:
    """For each size, the positions of the consecutive modes that multiply to it; none for a size of 1."""
    start = 0
    for size in sizes:
        stop = start
        while prod(modes[start:stop]) < size:
            stop += 1
        yield range(start, stop)
        start = stop
