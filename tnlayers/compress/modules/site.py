"""A site: a weight of a model that can become a network, seen as a dense module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from tnlayers_backends.torch.layers.conv_dense import DENSE
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import is_transposed
from tnlayers_backends.torch.modules.storage import KINDS
from torch import Tensor, nn

from tnlayers.declare.kernel import kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.decompose.sizes import Scale

_CONVOLUTIONS = tuple(DENSE.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One weight.

    Attributes:
        names: Where it stands, by module path (of a projection, the host's path and the projection's name).
        host: The module that stands there.
        part: Which projection of the host; "" where the host is this weight alone.
        dense: A module of torch that is this weight alone: an nn.Linear, a convolution or an nn.Embedding.
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
        return isinstance(self.dense, nn.Embedding) or is_transposed(self.host)

    @property
    def weight(self) -> Tensor:
        """The dense weight."""
        weight = self.dense.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias_size(self) -> int:
        """Entries of the biases, each once."""
        biases = {id(bias): bias.numel() for member in self.members if (bias := member.bias) is not None}
        return sum(biases.values())

    @property
    def bias(self) -> Tensor | None:
        """The bias of the weight: the module's own parameter where this weight is all that it has."""
        bias = getattr(self.dense if self.part else self.host, "bias", None)
        return bias if isinstance(bias, Tensor) else None

    def matrix(self) -> Tensor:
        """The weight as a layer of tnlayers has it, (out_features, in_features), in double precision."""
        weight = self.weight.detach()
        if isinstance(self.dense, nn.Embedding):
            weight = weight.mT
        elif isinstance(self.dense, _CONVOLUTIONS):
            weight = weight.movedim(1, -1).reshape(weight.shape[0], -1)
        return weight.to(torch.promote_types(weight.dtype, torch.float64))

    def scale(self, template: Spec) -> Scale:
        """The sizes that a network type has for this weight.

        Raises:
            TNLayersError: If the type does not fit.
        """
        if isinstance(self.dense, _CONVOLUTIONS):
            conv = self.dense
            template = kernel_spec(template, conv.kernel_size, conv.in_channels, conv.out_channels, conv.groups)
            return Scale.of(template, template.in_features, template.out_features)
        rows, columns = self.weight.shape
        sizes = (rows, columns) if isinstance(self.dense, nn.Embedding) else (columns, rows)
        return Scale.of(template, *sizes)


def blank(site: Site, spec: Spec) -> TNModule:
    """The layer of a spec in a weight's place, without numbers."""
    kind = next(kind for kind in KINDS.values() if kind.replaces is type(site.dense))
    missing = {"view": "kernel", "in_size": None, "unique": False}
    keywords = {name: getattr(site.dense, name, missing.get(name)) for name in kind.keywords}
    return kind.build(spec, dtype=site.weight.dtype, device="meta", **keywords)


def entries(site: Site) -> int:
    """Parameters of the dense weight: its entries, and what more it is computed of."""
    return prod(site.weight.shape) + site.extra
