"""Twins: the dense weights of the teacher by the names that their networks have in the compressed model.

A projection of attention or of a recurrent cell is a module of its own in the compressed model, and a part of one in
the teacher; what it should put out then follows from what its host was called with there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tnlayers_backends.torch.layers.kinds import find
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import host_of, parts_of
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Twin:
    """One dense weight of the teacher.

    Attributes:
        host: The module that has it.
        part: Which part of the host; "" where the host is this weight alone.
        dense: A module of torch that is this weight alone.
    """

    host: nn.Module
    part: str
    dense: nn.Module

    def wanted(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Tensor | None:
        """What this weight puts out in one call of its host; None where it does not take part."""
        return host_of(self.host).put_out(self.host, self.part, self.dense, args, kwargs, output)

    def reason_against(self, layer: TNModule) -> str:
        """Why a layer is no network for this weight, or cannot be fitted to it; "" where it can."""
        if reason := host_of(self.host).reason_against_fit(self.host):
            return reason
        kind = find(layer)
        if kind is None or not isinstance(self.dense, kind.stands_for):
            return f"a {type(layer).__name__} does not stand for the teacher's {type(self.host).__name__}"
        for name in kind.sizes:
            own, dense = getattr(layer, name), getattr(self.dense, name)
            if own != dense:
                return f"its {name} is {own}, that of the teacher's layer {dense}"
        return kind.reason_against_fit(layer)


def twins_of(teacher: nn.Module) -> dict[str, Twin]:
    """The dense weights of a model by name."""
    found: dict[str, Twin] = {}
    for path, module in teacher.named_modules():
        for part, dense in parts_of(module).items():
            # Attention comes before the layer of its output, a module that it does not call but takes the weight of.
            found.setdefault(".".join(filter(None, (path, part))), Twin(host=module, part=part, dense=dense))
    return found
