"""Looking rows of a table up through the cores: each id becomes one digit per input mode, the table is never built.

    id  ──►  digits (d_1, d_2, ...)         core_0[d_1]   core_1[d_2]   ...   one slice of each core per id,
                                                  └─────────────┴───────►     contracted over the bonds, batch on all

A core with input modes is sliced along them, so the batch takes their place; cores without stay as they are. What is
left is one contraction in which every slice and the result have the batch as an axis. An input mode that is an output
mode as well (block structure) is not sliced: a row is zero outside its own block, which a one-hot vector per id says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from tnlayers.cores.linear_map import LinearMap, bucket
from tnlayers.declare.graph import Contraction, Graph
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Slices:
    """How one core is sliced.

    Attributes:
        axes: The axes that ids choose along; none where the core has no input mode.
        modes: For each of them, the number of the input mode.
        kept: The other axes, in order.
    """

    axes: tuple[int, ...]
    modes: tuple[int, ...]
    kept: tuple[int, ...]


def slices(graph: Graph) -> tuple[Slices, ...]:
    """How each core of a network is sliced.

    Example:
        >>> import tnlayers as tnl
        >>> slices(tnl.spec("mpo(in=2x3, out=4x5, bond=6)").graph)[1]  # axes (left, inp, out)
        Slices(axes=(1,), modes=(1,), kept=(0, 2))
    """
    chosen = {i: number for number, i in enumerate(graph.inputs) if i not in graph.shared}
    found = []
    for core in graph.cores:
        axes = tuple(k for k, i in enumerate(core.indices) if i in chosen)
        kept = tuple(k for k, i in enumerate(core.indices) if i not in chosen)
        found.append(Slices(axes, tuple(chosen[core.indices[k]] for k in axes), kept))
    return tuple(found)


def lookup(graph: Graph, batch: int) -> Contraction:
    """The contraction of the slices: operands are the cores' slices, then a one-hot vector per shared mode.

    Args:
        graph: The network, whose input modes the digits of an id choose in.
        batch: How many ids are planned for.

    Returns:
        A contraction with result (batch, *out_modes).
    """
    index = len(graph.sizes)
    operands = [
        (*((index,) if part.axes else ()), *(core.indices[k] for k in part.kept))
        for core, part in zip(graph.cores, slices(graph), strict=True)
    ]
    return Contraction(
        names=(*(core.name for core in graph.cores), *(f"one_hot_{k}" for k in range(len(graph.shared)))),
        operands=(*operands, *((index, i) for i in graph.shared)),
        output=(index, *graph.outputs),
        sizes=(*graph.sizes, batch),
        batch=index,
    )


@dataclass(frozen=True)
class LookupMap:
    """The framework-free half of an embedding: how the cores of each network are sliced, and plans by number of ids.

    Attributes:
        matrix: The table's transpose as a layer (embedding_dim, num_embeddings).
        slices: For each network, how its cores are sliced.
    """

    matrix: LinearMap
    slices: tuple[tuple[Slices, ...], ...] = field(init=False)
    _plans: dict[tuple[int, Objective], tuple[Plan, ...]] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slices", tuple(slices(graph) for graph in self.matrix.graphs))

    def plans_for(self, batch: int, objective: Objective = "forward") -> tuple[Plan, ...]:
        """One plan per network for that many ids (the next power of two), searched at most once.

        Args:
            batch: How many ids are looked up at once.
            objective: "forward", or "training" where gradients are wanted.
        """
        key = (bucket(batch), objective)
        if key not in self._plans:
            self._plans[key] = tuple(
                plan_contraction(
                    lookup(graph, key[0]),
                    objective=objective,
                    dtype=self.matrix.dtype,
                    title=f"rows of {part}",
                    device=self.matrix.device,
                )
                for graph, part in zip(self.matrix.graphs, self.matrix.spec.parts, strict=True)
            )
        return self._plans[key]


def transposed(matrix: LinearMap, buckets: tuple[int, ...] = ()) -> LinearMap:
    """The same networks read from their outputs to their inputs: vectors of embedding_dim to a number per row.

    Args:
        matrix: A linear layer's framework-free half.
        buckets: Batch sizes that are planned for at once.
    """
    parts = tuple(
        replace(
            part, in_modes=part.out_modes, out_modes=part.in_modes, pad_in=part.pad_out, pad_out=part.pad_in, notes=()
        )
        for part in matrix.spec.parts
    )
    spec = replace(matrix.spec, terms=parts) if matrix.spec.terms else parts[0]
    graphs = tuple(replace(graph, inputs=graph.outputs, outputs=graph.inputs) for graph in matrix.graphs)
    return LinearMap(spec, matrix.dtype, graphs, device=matrix.device, buckets=buckets)


def strides(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """What each digit counts: the product of all later sizes.

    Example:
        >>> strides((4, 7, 5))
        (35, 5, 1)
    """
    return tuple(prod(sizes[k + 1 :]) for k in range(len(sizes)))
