"""Lower bounds on sizes: the ranks of every cut of a network in two, from the singular values of the weight there.

A cut divides the cores into two sides. For each value of the modes that both sides have, the weight as a matrix between
the sides has at most the rank that the bonds of the cut have together, so its error is at least what such ranks must
leave out (Eckart and Young 1936, doi 10.1007/BF02288367). A size that fails this needs no fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from tnlayers.declare.graph import Graph
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.program.program import Array

_MOST, _FEW = 64, 8  # cuts that are looked at, of small weights and of
_LARGE = 2**16  # more entries


class Cuts:
    """The cuts of one weight, each of whose singular values are found once.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        allowed: The squared error that is allowed.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> cuts, weight = Cuts(backend("numpy").ops, 1e-20), np.random.default_rng(0).standard_normal((8, 8))
        >>> rings = {b: tnl.spec(f"ring(in=2x2x2, out=2x2x2, bond={b})").graph for b in range(1, 9)}
        >>> [b for b, ring in rings.items() if cuts.allow(ring, weight)]
        [2, 3, 4, 5, 6, 7, 8]
    """

    def __init__(self, ops: Splitting, allowed: float) -> None:
        self._ops, self._allowed = ops, allowed
        self._known: dict[tuple[object, ...], list[float]] = {}

    def allow(self, graph: Graph, weight: Array) -> bool:
        """Whether no cut shows that a network is too small for the weight, which is always the same but for padding."""
        if {*graph.inputs} & {*graph.outputs}:
            return True  # zeros of the structure are no matter of ranks
        most = _MOST if prod(weight.shape) <= _LARGE else _FEW
        return all(self._least_error(graph, weight, side) <= self._allowed for side in _sides(len(graph.cores), most))

    def _least_error(self, graph: Graph, weight: Array, side: frozenset[int]) -> float:
        """The least squared error that the bonds of a cut leave."""
        ends = [
            {i for k, core in enumerate(graph.cores) if (k in side) == near for i in core.indices} for near in (1, 0)
        ]
        modes = (*graph.outputs, *graph.inputs)
        tied = tuple(k for k, i in enumerate(modes) if i in ends[0] and i in ends[1])
        rows = tuple(k for k, i in enumerate(modes) if i in ends[0] and i not in ends[1])
        room = prod(graph.sizes[i] for i in graph.summed if i in ends[0] and i in ends[1])
        key = (graph.out_modes, graph.in_modes, tied, rows)
        if key not in self._known:
            self._known[key] = self._tails(graph, weight, tied, rows)
        tails = self._known[key]
        return tails[room] if room < len(tails) else 0.0

    def _tails(self, graph: Graph, weight: Array, tied: tuple[int, ...], rows: tuple[int, ...]) -> list[float]:
        """What is left out of the weight, in squares, if 0, 1, 2, ... singular values are kept in every block."""
        ops, sizes = self._ops, (*graph.out_modes, *graph.in_modes)
        order = (*tied, *rows, *(k for k in range(len(sizes)) if k not in tied and k not in rows))
        shape = (prod(sizes[k] for k in tied), prod(sizes[k] for k in rows), -1)
        blocks = ops.reshape(ops.permute(ops.reshape(weight, sizes), order), shape)
        squares = [float(value) for value in ops.sum(ops.singular_values(blocks) ** 2, (0,))]
        return [sum(squares[kept:]) for kept in range(len(squares))]


def _sides(cores: int, most: int) -> Iterator[frozenset[int]]:
    """One side of every cut; where they are too many, of one core each, and of neighbours from the first on."""
    if 2 ** (cores - 1) <= most:
        for bits in range(1, 2 ** (cores - 1)):
            yield frozenset(k for k in range(cores - 1) if bits >> k & 1)
        return
    for k in range(min(cores, most // 2)):
        yield frozenset({k})
        if 0 < k < cores - 1:
            yield frozenset(range(k + 1))
