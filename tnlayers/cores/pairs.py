"""Two vectors through the cores at once: what a bilinear map does to a pair, its outer product never formed.

    y_o = sum_ij W_oij a_i b_j        input modes of the network:  a's modes, then b's

Where the input modes divide between the two vectors, each is an operand of one contraction with the cores, on its own
modes. Where a mode spans both, there is no such contraction, and the outer product is an ordinary input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import accumulate
from math import prod
from operator import add, mul
from typing import Any

from tnlayers.cores.linear_map import LinearMap, bucket
from tnlayers.declare.graph import Contraction, Graph
from tnlayers.declare.modes import factorise
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Array, Primitives


def pair_spec(network: str | Spec, first: int, second: int, out: int, **keywords: Any) -> Spec:
    """The spec of a bilinear map, its sizes split into modes where the caller wrote none.

    Half of the cores have the modes of the first vector, the rest those of the second, and all have output modes.

    Args:
        network: A network type, a template, or a sized spec whose input modes multiply to both sizes.
        first: Size of the first vector.
        second: Size of the second.
        out: Size of the output.
        **keywords: As `tnl.spec` takes them.

    Raises:
        TNLayersError: If written modes do not fit.

    Example:
        >>> pair_spec("mpo(cores=4, bond=3)", 12, 10, 8)
        Spec('mpo(in=3x4x2x5, out=1x2x2x2, bond=3)')
    """
    asked = make_spec(network, **keywords)
    if asked.sized:
        return make_spec(asked, first * second, out)
    return make_spec(reduce(add, [_split(term, first, second, out) for term in asked.parts]), bias=asked.bias)


def _split(term: Spec, first: int, second: int, out: int) -> Spec:
    kind = network_type(term.network)
    if kind.split is not None:  # modes bound to each other: the type splits the whole
        return make_spec(term, first * second, out)
    cores = max(term.cores or kind.cores, 2)
    ins = (*factorise(first, cores // 2, pad=False), *factorise(second, cores - cores // 2, pad=False))
    sites = zip(ins, factorise(out, cores, pad=False), strict=True)
    kept = [site for site in sites if prod(site) > 1] or [(1, 1)]
    in_modes, out_modes = zip(*kept, strict=True)
    return make_spec(replace(term, cores=None), in_modes=in_modes, out_modes=out_modes)


def border(graph: Graph, first: int, second: int) -> int | None:
    """How many input modes are the first vector's; None where one spans both vectors, or features are padded."""
    ends = [1, *accumulate(graph.in_modes, mul)]
    return ends.index(first) if first in ends and ends[-1] == first * second else None


def pair(graph: Graph, at: int, batch: int) -> Contraction:
    """The contraction of the cores with a batch of pairs.

    Args:
        graph: The network.
        at: How many input modes are the first vector's.
        batch: How many pairs are planned for.

    Returns:
        A contraction with result (batch, *out_modes).
    """
    index = len(graph.sizes)
    return Contraction(
        names=(*(core.name for core in graph.cores), "first", "second"),
        operands=(
            *(core.indices for core in graph.cores),
            (index, *graph.inputs[:at]),
            (index, *graph.inputs[at:]),
        ),
        output=(index, *graph.outputs),
        sizes=(*graph.sizes, batch),
        batch=index,
    )


@dataclass(frozen=True)
class PairMap:
    """The framework-free half of a bilinear layer: where each network divides, and plans by number of pairs.

    Attributes:
        matrix: The layer as a map of outer products.
        first: Size of the first vector.
        second: Size of the second.
        borders: For each network, how many input modes are the first vector's; None where one network has no border.
    """

    matrix: LinearMap
    first: int
    second: int
    borders: tuple[int, ...] | None = field(init=False)
    _plans: dict[tuple[int, Objective], tuple[Plan, ...]] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        found = [border(graph, self.first, self.second) for graph in self.matrix.graphs]
        known = tuple(at for at in found if at is not None)
        object.__setattr__(self, "borders", known if len(known) == len(found) else None)

    def plans_for(self, batch: int, objective: Objective = "forward") -> tuple[Plan, ...]:
        """One plan per network for that many pairs (the next power of two), searched at most once.

        Args:
            batch: How many pairs go through at once.
            objective: "forward", or "training" where gradients are wanted.
        """
        if self.borders is None:
            return tuple(self.matrix.plan_for(batch, objective).terms)
        key = (bucket(batch), objective)
        if key not in self._plans:
            self._plans[key] = tuple(
                plan_contraction(
                    pair(graph, at, key[0]),
                    objective=objective,
                    dtype=self.matrix.dtype,
                    title=f"pairs through {part}",
                    features=(prod(graph.in_modes), prod(graph.out_modes)),
                    device=self.matrix.device,
                )
                for graph, at, part in zip(self.matrix.graphs, self.borders, self.matrix.spec.parts, strict=True)
            )
        return self._plans[key]

    def apply(
        self,
        ops: Primitives,
        first: Array,
        second: Array,
        cores: Sequence[Array],
        plans: Sequence[Plan],
        linear: Callable[[Array, Sequence[Array]], Array],
    ) -> Array:
        """The outputs of some pairs, (pairs, out_features).

        Args:
            ops: The primitives of the arrays' backend.
            first: (pairs, first size).
            second: (pairs, second size).
            cores: The cores, in order of declaration.
            plans: One per network, of `plans_for`.
            linear: Applies the map to outer products, where an input mode spans both vectors.
        """
        pairs = first.shape[0]
        if self.borders is None:
            return linear(ops.reshape(first[:, :, None] * second[:, None, :], (pairs, self.first * self.second)), cores)
        parts = []
        for plan, graph, at, own in zip(plans, self.matrix.graphs, self.borders, self.matrix.split(cores), strict=True):
            a = ops.reshape(first, (pairs, *graph.in_modes[:at]))
            b = ops.reshape(second, (pairs, *graph.in_modes[at:]))
            rows = ops.reshape(plan.program.run(ops, [*own, a, b]), (pairs, prod(graph.out_modes)))
            parts.append(rows[:, : self.matrix.spec.out_features])
        return reduce(add, parts)
