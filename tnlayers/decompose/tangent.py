"""The weight as a linear map of small changes of all cores at once: J, and J^H.

With E_k the contraction of all cores but k, as a stack of matrices over (tied | rest, coupled) indices,

    J v  =  sum over k of  E_k v_k          J^H u  =  (E_k^H u) for each k

E_k has the entries of the weight, times the bonds of core k, over the modes of core k: small weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnlayers.declare.graph import Contraction, Graph
from tnlayers.decompose.roles import Roles, every_role, size
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.planning.choosing import plan_contraction
from tnlayers.program.program import Array

_MOST_ENTRIES = 2**24  # of all E_k together


@dataclass(frozen=True, slots=True)
class Tangent:
    """J at some cores.

    Attributes:
        ops: The primitives of the cores' backend.
        graph: The network.
        own: The roles of the indices of every core.
        around: E_k for every core, (tied, rest, coupled).
    """

    ops: Splitting
    graph: Graph
    own: tuple[Roles, ...]
    around: tuple[Array, ...]

    @classmethod
    def at(cls, ops: Splitting, graph: Graph, cores: Sequence[Array]) -> Tangent:
        """J at these cores."""
        own = every_role(graph)
        return cls(ops, graph, own, tuple(_around(ops, graph, cores, k, one) for k, one in enumerate(own)))

    def matrix(self, k: int, core: Array) -> Array:
        """A core as a stack of matrices (tied, coupled, free)."""
        one, own = self.own[k], self.graph.cores[k].indices
        order = (*one.tied, *one.coupled, *one.free)
        moved = self.ops.permute(core, tuple(own.index(i) for i in order))
        return self.ops.reshape(moved, tuple(size(self.graph, part) for part in (one.tied, one.coupled, one.free)))

    def core(self, k: int, matrix: Array) -> Array:
        """The core of such a stack."""
        one, own = self.own[k], self.graph.cores[k].indices
        order = (*one.tied, *one.coupled, *one.free)
        whole = self.ops.reshape(matrix, tuple(self.graph.sizes[i] for i in order))
        return self.ops.permute(whole, tuple(order.index(i) for i in own))

    def change(self, steps: Sequence[Array]) -> Array:
        """J v as a tensor over outputs and inputs, for one stack of matrices per core."""
        return sum(self.weight(k, step) for k, step in enumerate(steps))

    def weight(self, k: int, matrix: Array) -> Array:
        """The weight with core `k` as this stack, as a tensor over outputs and inputs."""
        one, modes = self.own[k], (*self.graph.outputs, *self.graph.inputs)
        order = (*one.tied, *one.rest, *one.free)
        product = self.ops.matmul(self.around[k], matrix)
        whole = self.ops.reshape(product, tuple(self.graph.sizes[i] for i in order))
        return self.ops.permute(whole, tuple(order.index(i) for i in modes))

    def pulled(self, tensor: Array) -> list[Array]:
        """J^H u, one stack of matrices per core."""
        ops, modes = self.ops, (*self.graph.outputs, *self.graph.inputs)
        found = []
        for one, around in zip(self.own, self.around, strict=True):
            moved = ops.permute(tensor, tuple(modes.index(i) for i in (*one.tied, *one.rest, *one.free)))
            shape = tuple(size(self.graph, part) for part in (one.tied, one.rest, one.free))
            found.append(ops.matmul(ops.permute(around, (0, 2, 1)).conj(), ops.reshape(moved, shape)))
        return found

    def square(self) -> Array:
        """J J^H, a matrix over the entries of the weight."""
        ops, modes = self.ops, (*self.graph.outputs, *self.graph.inputs)
        n = len(modes)
        total: Array = 0
        for one, around in zip(self.own, self.around, strict=True):
            order = (*one.tied, *one.rest, *one.free)
            tied, rest, free = (size(self.graph, part) for part in (one.tied, one.rest, one.free))
            inner = ops.matmul(around, ops.permute(around, (0, 2, 1)).conj())
            block = ops.reshape(inner, (tied, rest, 1, 1, rest, 1)) * ops.reshape(
                ops.eye(tied, around), (tied, 1, 1, tied, 1, 1)
            )
            whole = block * ops.reshape(ops.eye(free, around), (1, 1, free, 1, 1, free))
            sizes = tuple(self.graph.sizes[i] for i in order)
            places = tuple(order.index(i) for i in modes)
            total = total + ops.permute(ops.reshape(whole, (*sizes, *sizes)), (*places, *(k + n for k in places)))
        entries = size(self.graph, modes)
        return ops.reshape(total, (entries, entries))


def affordable(graph: Graph) -> bool:
    """Whether the matrices E_k are small enough, and the network has no structural zeros or traces."""
    modes = (*graph.outputs, *graph.inputs)
    if len(graph.cores) < 2 or len(set(modes)) < len(modes):
        return False
    if any(len(set(core.indices)) < len(core.indices) for core in graph.cores):
        return False
    parts = ((*one.tied, *one.rest, *one.coupled) for one in every_role(graph))
    return sum(size(graph, part) for part in parts) <= _MOST_ENTRIES


def _around(ops: Splitting, graph: Graph, cores: Sequence[Array], k: int, own: Roles) -> Array:
    others = [j for j in range(len(cores)) if j != k]
    contraction = Contraction(
        names=tuple(graph.cores[j].name for j in others),
        operands=tuple(graph.cores[j].indices for j in others),
        output=(*own.tied, *own.rest, *own.coupled),
        sizes=graph.sizes,
    )
    whole = plan_contraction(contraction, title="all cores but one").program.run(ops, [cores[j] for j in others])
    return ops.reshape(whole, tuple(size(graph, part) for part in (own.tied, own.rest, own.coupled)))
