"""Sites: the places of a model where the paper puts a network in place of a dense layer, one declaration each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tnlayers.lower import Graph
from tnlayers.networks.registry import network_type
from tnlayers.nn import TNLinear
from tnlayers.spec import Spec
from tnlayers.spec import spec as make_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One replaced layer, with the factors and the bond of the paper's MPO.

    Attributes:
        name: The module's name in the model.
        replaces: The dense layer in words.
        dense_weights: Entries of the dense layer's weight: what rho counts as "before".
        in_modes: Factors of the input.
        out_modes: Factors of the output.
        bond_dim: The paper's bond dimension.
        bias: Whether the authors' network has a bias here; theirs and the dense layer's differ.
        scanned: Whether a bond asked for in a template applies here; elsewhere the paper's stays.
    """

    name: str
    replaces: str
    dense_weights: int
    in_modes: tuple[int, ...]
    out_modes: tuple[int, ...]
    bond_dim: int
    bias: bool = True
    scanned: bool = True

    def spec(self, network: str) -> Spec:
        """The declaration for "mpo" (the paper's), or a template such as "mpo(bond=8)", at this site's modes."""
        template = make_spec(network)
        own = template.network == "mpo" and (not self.scanned or "bond_dim" not in dict(template.options))
        bond = {"bond_dim": self.bond_dim} if own else {}
        return make_spec(template, in_modes=self.in_modes, out_modes=self.out_modes, bias=self.bias, **bond)

    def asked_bond(self, network: str) -> int | tuple[int, ...] | None:
        """The bond before clipping, or None for network types without one."""
        template = make_spec(network)
        if "bond_dim" not in network_type(template.network).keywords:
            return None
        asked = dict(template.options).get("bond_dim")
        return asked if self.scanned and isinstance(asked, (int, tuple)) else self.bond_dim

    def build(self, network: str) -> nn.Module:
        """The layer for this site."""
        spec = self.spec(network)
        return TNLinear(spec.in_features, spec.out_features, spec.bias, network=spec)

    def uniform_parameters(self, network: str) -> int:
        """Parameters of an mpo with the asked bond everywhere, by the formula (arXiv 1904.06194, Eq. 6).

        Above the exact maximum of an edge this is more than what is built, since the built bond is clipped.
        """
        bond = self.asked_bond(network)
        if make_spec(network).network != "mpo" or not isinstance(bond, int):
            return self.spec(network).parameters
        bonds = (1, *(bond,) * (len(self.in_modes) - 1), 1)
        pairs = zip(self.in_modes, self.out_modes, bonds[:-1], bonds[1:], strict=True)
        return sum(i * j * left * right for i, j, left, right in pairs)


def glorot_shape(graph: Graph, core: int) -> tuple[int, int]:
    """(rows, columns) of a core as the paper's code stores it: [out x right bond, left bond x in]."""
    indices = graph.cores[core].indices
    split = next(axis for axis, index in enumerate(indices) if index in graph.outputs)
    sizes = graph.shape(graph.cores[core])
    rows = columns = 1
    for axis, size in enumerate(sizes):
        rows, columns = (rows * size, columns) if axis >= split else (rows, columns * size)
    return rows, columns
