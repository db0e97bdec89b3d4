"""What each index of a core is to a least-squares problem in that core alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

from tnlayers.declare.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The indices of one core, and the modes that it lacks.

    Attributes:
        tied: Modes that other cores have too: each of their values is a problem of its own.
        coupled: Bonds, and modes that a metric mixes: the unknowns of one problem.
        free: Modes of this core alone: all their values share one matrix.
        rest: The modes that it does not have.
    """

    tied: tuple[int, ...]
    coupled: tuple[int, ...]
    free: tuple[int, ...]
    rest: tuple[int, ...]


def roles(graph: Graph, k: int, mixed: Collection[int] = ()) -> Roles:
    """The roles of the indices of core `k`, each in the order of the core, or of outputs and inputs.

    Args:
        graph: The network.
        k: The core.
        mixed: Modes whose values a metric mixes.

    Example:
        >>> import tnlayers as tnl
        >>> graph = tnl.spec("mpo(in=2x3, out=5x7, bond=4)").graph
        >>> found = roles(graph, 0)
        >>> [graph.sizes[i] for i in found.coupled], [graph.sizes[i] for i in found.rest]
        ([4], [7, 3])
    """
    own = graph.cores[k].indices
    elsewhere = {i for j, core in enumerate(graph.cores) if j != k for i in core.indices}
    modes = tuple(dict.fromkeys((*graph.outputs, *graph.inputs)))
    plain = {*modes} - {*mixed}
    return Roles(
        tied=tuple(i for i in own if i in plain and i in elsewhere),
        coupled=tuple(i for i in own if i not in plain),
        free=tuple(i for i in own if i in plain and i not in elsewhere),
        rest=tuple(i for i in modes if i not in own),
    )


def every_role(graph: Graph) -> tuple[Roles, ...]:
    """The roles in every core."""
    return tuple(roles(graph, k) for k in range(len(graph.cores)))


def size(graph: Graph, indices: Sequence[int]) -> int:
    """How many values some indices have together."""
    return prod(graph.sizes[i] for i in indices)
