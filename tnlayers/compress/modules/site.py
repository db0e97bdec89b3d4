"""A site: a weight of a model that can become a network, seen as a dense module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from tnlayers_backends.torch.layers.kind import LayerKind
from tnlayers_backends.torch.layers.kinds import kind_of
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import is_transposed
from torch import Tensor, nn

from tnlayers.declare.spec import Spec
from tnlayers.decompose.sizes import Scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One weight.

    Attributes:
        names: Its places, by module path (of a projection, the host's path and the projection's name).
        host: The module at that place.
        part: Which projection of the host; "" where the host is this weight alone.
        dense: A module of torch that is this weight alone, which a layer kind replaces.
        against: Why it has to stay dense; "" where it need not.
        tied: Other modules with the very same weight; it is counted here alone.
        extra: Parameters that its weight is computed of beyond its own entries, which a network does away with.
    """

    names: tuple[str, ...]
    host: nn.Module
    part: str
    dense: nn.Module
    against: str
    tied: tuple[Site, ...] = ()
    extra: int = 0

    @property
    def kind(self) -> LayerKind:
        """The kind of layer that replaces the weight."""
        return kind_of(self.dense)

    @property
    def members(self) -> tuple[Site, ...]:
        """This one and those that are tied to it."""
        return (self, *self.tied)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Of this one and those that are tied to it."""
        return tuple(name for member in self.members for name in member.names)

    @property
    def name(self) -> str:
        """All names."""
        return ", ".join(self.all_names)

    @property
    def turned(self) -> bool:
        """Whether the module holds its weight as (in_features, out_features)."""
        return self.kind.turned or is_transposed(self.host)

    @property
    def weight(self) -> Tensor:
        """The dense weight."""
        weight = self.dense.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def biases(self) -> tuple[Tensor, ...]:
        """The biases of this one and of those that are tied to it, each once."""
        return tuple({id(bias): bias for member in self.members if (bias := member.bias) is not None}.values())

    @property
    def bias_size(self) -> int:
        """Entries of the biases, each once."""
        return sum(bias.numel() for bias in self.biases)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the weight: the module's own parameter where this weight is all that it has."""
        bias = getattr(self.dense if self.part else self.host, "bias", None)
        return bias if isinstance(bias, Tensor) else None

    def matrix(self) -> Tensor:
        """The weight as a layer of tnlayers has it, (out_features, in_features), in double precision."""
        weight = self.kind.matrix(self.weight.detach())
        return weight.to(torch.promote_types(weight.dtype, torch.float64))

    def scale(self, template: Spec) -> Scale:
        """The sizes that a network type has for this weight.

        Raises:
            TNLayersError: If the type does not fit.
        """
        return self.kind.scale(template, self.dense)


def blank(site: Site, spec: Spec) -> TNModule:
    """The layer of a spec in a weight's place, without numbers."""
    settings = site.kind.settings(site.dense)
    return site.kind.build(spec, dtype=site.weight.dtype, device="meta", **settings)


def entries(site: Site) -> int:
    """Parameters of the dense weight: its entries, and what more it is computed of."""
    return prod(site.weight.shape) + site.extra
