"""What can be explored: everything that is contracted, as parts that each are one contraction.

A layer of one network is one part; a sum has one per term, a model one per network of each of its layers. A convolution
is explored as its kernel's matrix on unfolded windows, whose "batch" counts positions of the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tnlayers.cores.einsum import from_einsum
from tnlayers.declare.graph import Contraction, Core, Graph, forward
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError

_MOST_PARTS = 64
_WINDOWS = (
    "This is the kernel as a matrix on unfolded windows: a batch counts positions of the output, of all images. The "
    "layer itself applies groups of cores as small convolutions, and prints that plan by layer.plan_for(input_shape)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One contraction to explore, at any batch size.

    Attributes:
        name: What it is called among several parts, "" where there is one.
        title: What is contracted, in words.
        graph: The network that is drawn; that of an einsum has all operands as its cores.
        einsum: The contraction where it is no layer's: it has no batch and no dense layer beside it.
        spec: The declaration, where there is one: other bonds and network types can be chosen then.
        note: What a reader must know.
    """

    name: str = ""
    title: str
    graph: Graph
    einsum: Contraction | None = None
    spec: Spec | None = None
    note: str = ""

    @property
    def features(self) -> tuple[int, int] | None:
        """(in_features, out_features), None for an einsum."""
        return None if self.einsum else (prod(self.graph.in_modes), prod(self.graph.out_modes))

    @property
    def network(self) -> str:
        """The network's type; "einsum" or "graph" where it has none."""
        return self.spec.network if self.spec else "einsum" if self.einsum else "graph"

    def contraction(self, batch: int) -> Contraction:
        """What is computed for so many rows."""
        return self.einsum or forward(self.graph, batch)


def parts_of(thing: Any, shapes: Sequence[Sequence[int]] | None = None) -> tuple[Part, ...]:
    """The contractions of whatever it is.

    Args:
        thing: A sized spec or its string, a graph, a layer, a model with layers, or an einsum equation.
        shapes: The operands' shapes of an equation.

    Raises:
        TNLayersError: If nothing of it can be explored.

    Example:
        >>> [part.name for part in parts_of("lowrank(in=8, out=8, rank=2) + diagonal(in=8, out=8)")]
        ['term 1: lowrank', 'term 2: diagonal']
        >>> parts_of("ij,jk->ik", [(2, 3), (3, 4)])[0].contraction(1).names
        ('operand_0', 'operand_1')
    """
    if shapes is not None:
        return (_einsum(thing, shapes),)
    if isinstance(thing, str) and "->" in thing:
        raise TNLayersError(
            f"{thing!r} is an einsum equation, and the shapes of its operands are needed: "
            f"tnl.explore({thing!r}, [(2, 3), ...]), one shape for each."
        )
    if isinstance(thing, str | Spec):
        return tuple(_of_spec(make_spec(thing)))
    if isinstance(thing, Graph):
        return (Part(title=f"graph of {len(thing.cores)} cores", graph=thing),)
    found = tuple(_of_object(thing))
    if not found:
        raise TNLayersError(
            f"There is no contraction to explore in {type(thing).__name__!r}. Explored are specs such as "
            "'mpo(in=4x7, out=2x5, bond=3)', graphs, layers, torch models with tnlayers layers in them, and einsum "
            "equations with shapes: tnl.explore('bij,jk->bik', [(8, 2, 3), (3, 4)])."
        )
    if len(found) > _MOST_PARTS:
        raise TNLayersError(
            f"This model has {len(found)} networks, and at most {_MOST_PARTS} are explored at once: explore one of its "
            f"layers, such as model.get_submodule({found[0].name.partition(' ')[0]!r})."
        )
    return found


def _of_spec(made: Spec, graphs: Sequence[Graph] | None = None, name: str = "", note: str = "") -> Iterator[Part]:
    known = made.graphs if graphs is None else graphs  # templates are refused here
    for number, (part, graph) in enumerate(zip(made.parts, known, strict=True)):
        called = " ".join(filter(None, (name, f"term {number + 1}: {part.network}" if len(known) > 1 else "")))
        own = part if not note else None  # another bond of a kernel is no spec of a linear layer's
        yield Part(name=called, title=str(part), graph=graph, spec=own, note=note)


def _of_object(thing: Any, name: str = "") -> Iterator[Part]:
    """The parts of a layer, else those of the layers inside."""
    held = getattr(thing, "_map", getattr(thing, "map", None))
    matrix = getattr(getattr(thing, "_conv", None), "matrix", None)  # a convolution's
    source: Any = matrix if matrix is not None else held
    if isinstance(getattr(source, "spec", None), Spec) and getattr(source, "graphs", None):
        yield from _of_spec(source.spec, source.graphs, name, _WINDOWS if matrix is not None else "")
        return
    inside = getattr(thing, "model", thing)
    if callable(getattr(inside, "named_children", None)):
        for child, module in inside.named_children():
            yield from _of_object(module, f"{name}.{child}" if name else child)


def _einsum(equation: Any, shapes: Sequence[Sequence[int]]) -> Part:
    if not isinstance(equation, str) or "(" in equation:
        raise TNLayersError(
            f"shapes are for an einsum equation such as 'bij,jk->bik', and {str(equation)[:60]!r} is none: leave them."
        )
    contraction = from_einsum(equation, shapes).plan.contraction
    cores = tuple(Core(n, indices) for n, indices in zip(contraction.names, contraction.operands, strict=True))
    graph = Graph(cores=cores, sizes=contraction.sizes, inputs=(), outputs=contraction.output)
    return Part(title=equation, graph=graph, einsum=contraction)
