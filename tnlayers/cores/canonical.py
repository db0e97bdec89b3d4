"""Sweeps: moving weight along the bonds of a loop-free network towards one core, its orthogonality centre.

       core_0 ---> core_1 ---> core_2 <--- core_3        walk(graph, centre=2): leaves first, each move along one bond

A move splits a core, seen as a matrix with the bond as its columns, into an isometry that stays and a remainder that is
multiplied into the next core: C = Q R. With QR the result is the canonical form: W is unchanged, every core but the
centre is an isometry towards it, and ||W|| is the norm of the centre alone (Schollwoeck 2011, arXiv 1008.3477, Sec. 4;
trees: Shi, Duan, Vidal 2006, arXiv quant-ph/0511070). Another split (a truncated SVD) in the same sweep would truncate.

The sweep knows only the graph; the moves need a backend's QR beside the primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, prod
from typing import Protocol, TypeAlias

from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array, Primitives


class Factoring(Primitives, Protocol):
    """The primitives of a backend that also factors matrices."""

    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """Q with orthonormal columns, (rows, k), and R, (k, columns), k the lesser of the two: `numpy.linalg.qr`."""

    def cast(self, array: Array, dtype: str) -> Array:
        """The array in the dtype of this name; itself where it has it."""


# A matrix (rows, columns) as an isometry (rows, k) and a remainder (k, columns) whose product it is.
Split: TypeAlias = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a sweep: the remainder of core `source` goes over `bond` into core `target`.

    Attributes:
        source: Position of the core that is split.
        target: Position of its neighbour.
        bond: The index that they share; several where they are joined by several edges.
    """

    source: int
    target: int
    bond: tuple[int, ...]


def moves_to(graph: Graph, centre: int) -> tuple[Move, ...]:
    """The moves of a sweep towards a core: every other core is the source of one, after all cores behind it.

    Args:
        graph: A network without loops and hyperedges.
        centre: Position of the core to sweep towards.

    Raises:
        TNLayersError: If the network has a loop, a hyperedge or a trace; the message names the cores.

    Example:
        >>> import tnlayers as tnl
        >>> [(m.source, m.target) for m in moves_to(tnl.spec("mpo(in=2x2x2x2, out=2x2x2x2, bond=2)").graph, centre=2)]
        [(0, 1), (3, 2), (1, 2)]
    """
    bonds = _bonds(graph)
    moves: list[Move] = []
    reached, frontier = {centre}, [centre]
    while frontier:
        target = frontier.pop()
        for pair, bond in bonds.items():
            if target in pair and (source := sum(pair) - target) not in reached:
                reached.add(source)
                frontier.append(source)
                moves.append(Move(source, target, bond))
    return tuple(reversed(moves))


def loop_free(graph: Graph) -> bool:
    """Whether every bond cuts the network in two, and no index is input and output at once."""
    try:
        moves_to(graph, 0)
    except TNLayersError:
        return False
    return not graph.shared


def push(cores: Sequence[Array], graph: Graph, move: Move, ops: Primitives, split: Split) -> tuple[Array, Array]:
    """Carry out one move; the product of the two cores is unchanged where the split is exact.

    Args:
        cores: The cores, in order of declaration; their bonds may have other sizes than the graph's.
        graph: Whose axes they have.
        move: Which two cores.
        ops: The primitives of the arrays' backend.
        split: How the source is split. The bond gets as many values as the isometry has columns; of several parallel
            edges, which are split as one, the number must stay.

    Returns:
        The new source and the new target.
    """
    to_rows = _order(graph, move.source, move.bond, bond_last=True)
    to_columns = _order(graph, move.target, move.bond, bond_last=False)
    left, right = ops.permute(cores[move.source], to_rows), ops.permute(cores[move.target], to_columns)
    n = len(move.bond)
    rows, bond, columns = tuple(left.shape[:-n]), tuple(left.shape[-n:]), tuple(right.shape[n:])
    isometry, remainder = split(ops.reshape(left, (prod(rows), prod(bond))))
    carried = ops.matmul(remainder, ops.reshape(right, (prod(bond), prod(columns))))
    kept = bond if isometry.shape[1] == prod(bond) else (isometry.shape[1],)
    return (
        ops.permute(ops.reshape(isometry, (*rows, *kept)), _inverse(to_rows)),
        ops.permute(ops.reshape(carried, (*kept, *columns)), _inverse(to_columns)),
    )


def canonical(ops: Factoring, graph: Graph, cores: Sequence[Array], centre: int) -> list[Array]:
    """The cores in canonical form: W and all shapes unchanged, every core but the centre an isometry towards it.

    A bond larger than what the cores behind it can fill has columns of zeros: Q^H Q is then a projector.

    Args:
        ops: The primitives of the arrays' backend, with its QR.
        graph: A network without loops and hyperedges.
        cores: Its cores.
        centre: Position of the core that is to hold the norm.

    Raises:
        TNLayersError: If the network has a loop, a hyperedge or a trace.
    """

    def split(matrix: Array) -> tuple[Array, Array]:
        q, r = ops.qr(matrix)
        missing = matrix.shape[1] - q.shape[1]
        return ops.pad(q, missing), ops.permute(ops.pad(ops.permute(r, (1, 0)), missing), (1, 0))

    swept = list(cores)
    for move in moves_to(graph, centre):
        swept[move.source], swept[move.target] = push(swept, graph, move, ops, split)
    return swept


def canonical_terms(ops: Factoring, graphs: Sequence[Graph], cores: Sequence[Array], centre: str | None) -> list[Array]:
    """The cores of a layer in canonical form, each of its networks by itself.

    Args:
        ops: The primitives of the arrays' backend, with its QR.
        graphs: The layer's networks.
        cores: Their cores, in order of declaration.
        centre: The name of the core that holds its network's norm; other networks, and None, take their first core.

    Raises:
        TNLayersError: If there is no core of that name, or a network has a loop, a hyperedge or a trace.
    """
    names = [core.name for graph in graphs for core in graph.cores]
    if centre is not None and centre not in names:
        raise TNLayersError(f"There is no core {centre!r} to be the centre; the cores are {', '.join(names)}.")
    swept: list[Array] = []
    for graph in graphs:
        own = [core.name for core in graph.cores]
        at = own.index(centre) if centre in own else 0
        swept += canonical(ops, graph, cores[len(swept) : len(swept) + len(own)], at)
    return swept


def balanced_terms(ops: Primitives, graphs: Sequence[Graph], cores: Sequence[Array]) -> list[Array]:
    """The cores of a layer scaled to equal norms within each network, W unchanged; a W of zero stays as it is.

    Args:
        ops: The primitives of the arrays' backend.
        graphs: The layer's networks, of any kind.
        cores: Their cores, in order of declaration.
    """
    scaled: list[Array] = []
    for graph in graphs:
        own = cores[len(scaled) : len(scaled) + len(graph.cores)]
        norms = [float(ops.sum((core.conj() * core).real, tuple(range(core.ndim)))) ** 0.5 for core in own]
        if min(norms) > 0:
            common = exp(sum(map(log, norms)) / len(norms))
            own = [core * (common / norm) for core, norm in zip(own, norms, strict=True)]
        scaled += own
    return scaled


def _order(graph: Graph, position: int, bond: Sequence[int], *, bond_last: bool) -> tuple[int, ...]:
    """The axes of a core with those of a bond behind or before all others."""
    indices = graph.cores[position].indices
    ends = tuple(indices.index(i) for i in bond)
    others = tuple(axis for axis, i in enumerate(indices) if i not in bond)
    return (*others, *ends) if bond_last else (*ends, *others)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _bonds(graph: Graph) -> dict[tuple[int, int], tuple[int, ...]]:
    """The indices that join each pair of neighbours, of a network that is a tree."""
    bonds: dict[tuple[int, int], tuple[int, ...]] = {}
    on_cores: dict[int, list[int]] = {}
    for k, core in enumerate(graph.cores):
        for index in core.indices:
            on_cores.setdefault(index, []).append(k)
    inner = {*graph.summed}
    for index, ends in on_cores.items():
        summed = index in inner
        if len(ends) != 1 + summed or len(set(ends)) != len(ends):
            kind = "a trace" if len(set(ends)) < len(ends) else "a hyperedge" if len(ends) > 1 else "summed alone"
            where = " and ".join(graph.cores[k].name for k in ends)
            raise _refusal(f"the index of size {graph.sizes[index]} on {where} is {kind}")
        if summed:
            pair = (ends[0], ends[1])
            bonds[pair] = (*bonds.get(pair, ()), index)
    if loop := _loop(len(graph.cores), set(bonds)):
        raise _refusal(f"{', '.join(graph.cores[k].name for k in loop)} form a loop")
    return bonds


def _loop(cores: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The cores that are left when leaves are taken off until there is none; empty for a tree."""
    near: dict[int, set[int]] = {k: set() for k in range(cores)}
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    leaves = [k for k, others in near.items() if len(others) < 2]
    while leaves:
        for other in near.pop(leaf := leaves.pop(), ()):
            near[other].discard(leaf)
            leaves += [other] if len(near[other]) == 1 else []
    return sorted(near)


def _refusal(reason: str) -> TNLayersError:
    return TNLayersError(
        f"This network has no canonical form: {reason}, and a sweep needs every bond to cut the network in two. "
        "layer.balance_() gives the cores of any network equal norms."
    )
