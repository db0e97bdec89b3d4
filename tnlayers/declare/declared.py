"""The value of a declaration: its fields, the graphs that they declare, and what follows from those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Self

from tnlayers.declare.grammar import Value, print_value
from tnlayers.declare.graph import Graph, clip, renamed
from tnlayers.declare.keywords import FIELDS
from tnlayers.declare.registry import SHORT_NAMES, declare, network_type
from tnlayers.errors import TNLayersError


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The declaration of one layer, as far as it needs no other; `Spec` says what each attribute is."""

    network: str
    in_modes: tuple[int, ...] | None = None
    out_modes: tuple[int, ...] | None = None
    options: tuple[tuple[str, Value], ...] = ()
    pad_in: int = 0
    pad_out: int = 0
    cores: int | None = None
    bias: bool = False
    terms: tuple[Self, ...] = ()
    lowered: tuple[Graph, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sized(self) -> bool:
        """Whether the modes are known: only then can it be planned and built."""
        if self.terms:
            return all(term.sized for term in self.terms)
        return self.in_modes is not None and self.out_modes is not None

    @property
    def parts(self) -> tuple[Self, ...]:
        """The terms of a sum, or the spec itself: the networks whose weights add up to the layer's."""
        return self.terms or (self,)

    @property
    def graph(self) -> Graph:
        """The network as a frozen graph, every bond at most its exact maximum.

        Raises:
            TNLayersError: If this is a template without sizes, or a sum, which has one graph per term (`graphs`).
        """
        if self.terms:
            raise TNLayersError(f"{self} is a sum of {len(self.terms)} networks: it has graphs, not one graph.")
        if self.lowered:
            return self.lowered[0]
        return clip(self.unclipped)[0]

    @property
    def unclipped(self) -> Graph:
        """The graph as the network function declares it, before any bond is clipped."""
        in_modes, out_modes = self.modes
        return declare(self.network, in_modes, out_modes, self.options)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """One graph per term, core names unique in the layer: those of a sum begin with their term's type."""
        if self.lowered:
            return self.lowered
        if not self.terms:
            return (self.graph,)
        return _term_graphs(self.terms)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every core by name, in order of declaration."""
        return {name: shape for graph in self.graphs for name, shape in graph.shapes.items()}

    @property
    def in_features(self) -> int:
        """Length of an input vector."""
        return self.terms[0].in_features if self.terms else prod(self.modes[0]) - self.pad_in

    @property
    def out_features(self) -> int:
        """Length of an output vector."""
        return self.terms[0].out_features if self.terms else prod(self.modes[1]) - self.pad_out

    @property
    def parameters(self) -> int:
        """Entries of all cores; the bias is not counted."""
        return sum(graph.parameters for graph in self.graphs)

    @property
    def dense_parameters(self) -> int:
        """Entries of the weight matrix that the network replaces: `in_features * out_features`."""
        return self.in_features * self.out_features

    @property
    def rho(self) -> float:
        """Compression ratio: parameters after over parameters before, biases excluded (arXiv 1904.06194, Eq. 7)."""
        return self.parameters / self.dense_parameters

    @property
    def bond_dim(self) -> int | tuple[int, ...]:
        """The bond dimension: one number, or one per bond where they differ.

        Raises:
            TNLayersError: If the network type has no such keyword, or this is a sum.
        """
        if self.terms:
            raise TNLayersError(f"{self} is a sum: each of its terms has a bond_dim of its own.")
        value = dict(self.options).get("bond_dim", network_type(self.network).keywords.get("bond_dim"))
        if not isinstance(value, (int, tuple)):
            raise TNLayersError(f"The network type {self.network!r} has no bond_dim; this spec is {self}.")
        return value

    @property
    def modes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Input and output modes.

        Raises:
            TNLayersError: If this is a template without sizes.
        """
        if self.in_modes is None or self.out_modes is None:
            raise TNLayersError(
                f"{self} is a template: it has no sizes yet. Give them with tnl.spec({str(self)!r}, in_features, "
                "out_features), or write in= and out= modes."
            )
        return self.in_modes, self.out_modes

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain data; `tnl.spec(data)` reads it back."""
        if self.terms:
            return {"terms": [term.to_dict() for term in self.terms]} | ({"bias": True} if self.bias else {})
        data: dict[str, Any] = {"network": self.network}
        for key in FIELDS:
            value = getattr(self, key)
            if value not in (None, 0, False):
                data[key] = list(value) if isinstance(value, tuple) else value
        return data | {k: list(v) if isinstance(v, tuple) else v for k, v in self.options}

    def __str__(self) -> str:
        if self.terms:
            return " + ".join(map(str, (replace(self.terms[0], bias=self.bias), *self.terms[1:])))
        parts = []
        for key in FIELDS:
            value = getattr(self, key)
            if value not in (None, 0, False):
                parts.append(f"{key.removesuffix('_modes')}={print_value(value, modes=key.endswith('_modes'))}")
        parts += [f"{SHORT_NAMES.get(key, key)}={print_value(value)}" for key, value in self.options]
        return f"{self.network}({', '.join(parts)})" if parts else self.network

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def _term_graphs(terms: Sequence[Declared]) -> tuple[Graph, ...]:
    """One graph per term; core names begin with the term's type, and its number where two terms share a type."""
    names = [term.network for term in terms]
    prefixes = [f"{n}{names[:k].count(n) + 1 if names.count(n) > 1 else ''}_" for k, n in enumerate(names)]
    return tuple(renamed(term.graph, prefix) for term, prefix in zip(terms, prefixes, strict=True))
