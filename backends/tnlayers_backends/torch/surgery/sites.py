"""Sites: the weights of a model that can become networks, each seen as a dense module of its own.

A module that is one weight (nn.Linear, a convolution, an embedding) is one site. One that holds several (attention, a
recurrent cell) is one site per projection; `hosts.py` puts such a module together again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from tnlayers.compress.sizes import Scale
from tnlayers.errors import TNLayersError
from tnlayers.kernel import kernel_spec
from tnlayers.spec import Spec
from tnlayers_backends.torch.conv_dense import DENSE
from tnlayers_backends.torch.module import TNModule
from tnlayers_backends.torch.surgery.hosts import parts_of, reason_against

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
    """

    names: tuple[str, ...]
    host: nn.Module
    part: str
    dense: nn.Module
    against: str

    @property
    def name(self) -> str:
        """All names."""
        return ", ".join(self.names)

    @property
    def weight(self) -> Tensor:
        """The dense weight."""
        weight = self.dense.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias_size(self) -> int:
        """Entries of the bias."""
        bias = getattr(self.dense, "bias", None)
        return bias.numel() if isinstance(bias, Tensor) else 0

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


def sites_of(model: nn.Module) -> list[Site]:
    """All sites of a model, in order; a weight that stands at several places is one site.

    Raises:
        TNLayersError: If the model is one weight itself, so that nothing could hold what replaces it.
    """
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    inside = {child for module in paths if parts_of(module) or isinstance(module, TNModule) for child in _below(module)}
    users = _users(model)
    found = [
        site
        for module, places in paths.items()
        if module not in inside and not isinstance(module, TNModule)
        for site in _sites(module, places, users)
    ]
    if any("" in site.names for site in found):
        raise TNLayersError(
            f"The model is a single {type(model).__name__}, and nothing holds what would replace it. Use from_linear, "
            "from_conv or from_embedding of tnl.nn, or wrap it: nn.Sequential(layer)."
        )
    return found


def _below(module: nn.Module) -> Iterator[nn.Module]:
    return (child for child in module.modules() if child is not module)


def _users(model: nn.Module) -> dict[int, list[str]]:
    """By parameter, the names that it has in different modules."""
    users: dict[int, list[str]] = {}
    for path, module in model.named_modules():  # each module once: one that stands at two places shares nothing
        for name, parameter in module.named_parameters(recurse=False):
            users.setdefault(id(parameter), []).append(f"{path}.{name}")
    return users


def _sites(module: nn.Module, places: list[str], users: dict[int, list[str]]) -> Iterator[Site]:
    against = reason_against(module)
    shared = [users[id(own)] for own in module.parameters(recurse=False) if len(users[id(own)]) > 1]
    if shared and not against:
        against = f"tied: {' and '.join(shared[0])} are one parameter and stay so"
    parts = parts_of(module)
    for part, dense in parts.items():
        names = tuple(f"{place}.{part}" if part and place else place or part for place in places)
        yield Site(names=names, host=module, part=part, dense=dense, against=against)


def entries(site: Site) -> int:
    """Entries of the dense weight."""
    return prod(site.weight.shape)
