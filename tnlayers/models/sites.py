"""Sites: the places of a model where the paper puts a network in place of a dense layer, one declaration each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import nn

from tnlayers.declare.grammar import EQUAL
from tnlayers.declare.graph import Graph
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.sizes import Scale, nearest
from tnlayers.errors import TNLayersWarning
from tnlayers.nn import TNConv2d, TNLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """The map that a replaced 3 x 3 convolution of stride 1 acts on.

    Attributes:
        size: Height and width, the same for input and output.
        in_channels: Of the input.
        out_channels: Of the output.
    """

    size: tuple[int, int]
    in_channels: int
    out_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One replaced layer, with the factors and the bond of the paper's MPO.

    Attributes:
        name: The module's path in the model.
        replaces: The dense layer in words.
        dense_weights: Entries of the dense layer's weight: what rho counts as "before".
        in_modes: Factors of the input.
        out_modes: Factors of the output.
        bond_dim: The paper's bond dimension.
        bias: Whether the authors' network has a bias here; theirs and the dense layer's differ.
        dense_bias: Whether the dense layer has one.
        scanned: Whether a bond asked for in a template applies here; elsewhere the paper's stays.
        map: Of a convolution, which the paper replaces by a linear map of the flattened (height, width, channel) map to
            the flattened map, with no weights shared over positions. None for a linear layer.
        pad_in: By how much the factors of the input multiply to more than its entries; what is missing reads as zero.
    """

    name: str
    replaces: str
    dense_weights: int
    in_modes: tuple[int, ...]
    out_modes: tuple[int, ...]
    bond_dim: int
    bias: bool = True
    dense_bias: bool = False
    scanned: bool = True
    map: Map | None = None
    pad_in: int = 0

    def spec(self, network: str) -> Spec:
        """The declaration at this site's modes.

        Args:
            network: "mpo" (the paper's), a template such as "mpo(bond=8)", or a type's name and "(equal)": the size
                (one number for all its bonds) whose parameters are nearest to those of the paper's MPO here.
        """
        if network.endswith(EQUAL):
            return self._equal(network.removesuffix(EQUAL))
        template = make_spec(network)
        own = template.network == "mpo" and (not self.scanned or "bond_dim" not in dict(template.options))
        bond = {"bond_dim": self.bond_dim} if own else {}
        return self._sized(template, **bond)

    def _sized(self, template: Spec, **bond: Any) -> Spec:
        if template.terms or template.cores is not None:  # these have modes of their own
            sizes = prod(self.in_modes) - self.pad_in, prod(self.out_modes)
            return make_spec(template, *sizes, bias=self.bias)
        return make_spec(
            template, in_modes=self.in_modes, out_modes=self.out_modes, bias=self.bias, pad_in=self.pad_in, **bond
        )

    def _equal(self, kind: str) -> Spec:
        budget = self.spec("mpo").parameters
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TNLayersWarning)  # the size that it has by default is about to change
            sized = self._sized(make_spec(kind))
        found = nearest(Scale.of(sized, sized.in_features, sized.out_features), budget)
        note = f"{found.parameters:,} parameters for the {budget:,} of the paper's MPO"
        return replace(found, notes=(*found.notes, note))

    def asked_bond(self, network: str) -> int | tuple[int, ...] | None:
        """The bond before clipping, or None for network types without one."""
        template = make_spec(network)
        if "bond_dim" not in network_type(template.network).keywords:
            return None
        asked = dict(template.options).get("bond_dim")
        return asked if self.scanned and isinstance(asked, (int, tuple)) else self.bond_dim

    def build(self, network: str) -> nn.Module:
        """The layer for this site: "dense", or a network as in `spec`."""
        if network == "dense":
            return self._dense()
        spec = self.spec(network)
        if self.map is None:
            return TNLinear(spec.in_features, spec.out_features, spec.bias, network=spec)
        channels = self.map.in_channels, self.map.out_channels
        return TNConv2d(*channels, 3, padding=1, bias=spec.bias, network=spec, view="flat", in_size=self.map.size)

    def _dense(self) -> nn.Module:
        if self.map is not None:
            return nn.Conv2d(self.map.in_channels, self.map.out_channels, 3, padding=1, bias=self.dense_bias)
        return nn.Linear(prod(self.in_modes) - self.pad_in, prod(self.out_modes), bias=self.dense_bias)

    def uniform_parameters(self, network: str) -> int:
        """Parameters of an mpo with the asked bond everywhere, by the formula (arXiv 1904.06194, Eq. 6).

        Above the exact maximum of an edge this is more than what is built, since the built bond is clipped.
        """
        if network.endswith(EQUAL) or make_spec(network).network != "mpo":
            return self.spec(network).parameters
        bond = self.asked_bond(network)
        if not isinstance(bond, int):
            return self.spec(network).parameters
        bonds = (1, *(bond,) * (len(self.in_modes) - 1), 1)
        pairs = zip(self.in_modes, self.out_modes, bonds[:-1], bonds[1:], strict=True)
        return sum(i * j * left * right for i, j, left, right in pairs)


def classifier(features: int, modes: tuple[int, ...], *, bond_dim: int) -> Site:
    """The head of ResNet and DenseNet, features -> 10; the authors' MPO has no bias there, the dense layer has one."""
    return Site(
        name="fc",
        replaces=f"linear {features} -> 10",
        dense_weights=features * 10,
        in_modes=modes,
        out_modes=(1, 5, 2, 1)[: len(modes)],
        bond_dim=bond_dim,
        bias=False,
        dense_bias=True,
    )


def network_kind(network: str) -> str:
    """The type's name of a network as `Site.spec` takes it.

    Example:
        >>> network_kind("mpo(bond=8)"), network_kind("cp(equal)"), network_kind("dense")
        ('mpo', 'cp', 'dense')
    """
    return "dense" if network == "dense" else make_spec(network.removesuffix(EQUAL)).network


def glorot_shape(graph: Graph, core: int) -> tuple[int, int]:
    """(rows, columns) of a core as the paper's code stores it: [out x right bond, left bond x in]."""
    indices = graph.cores[core].indices
    split = next(axis for axis, index in enumerate(indices) if index in graph.outputs)
    sizes = graph.shape(graph.cores[core])
    rows = columns = 1
    for axis, size in enumerate(sizes):
        rows, columns = (rows * size, columns) if axis >= split else (rows, columns * size)
    return rows, columns
