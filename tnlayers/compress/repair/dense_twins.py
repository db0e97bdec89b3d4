"""Twins: the dense weights of the teacher by the names that their networks have in the compressed model.

A projection of attention or of a recurrent cell is a module of its own in the compressed model, and a part of one in
the teacher; what it should put out then follows from what its host was called with there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tnlayers_backends.torch.layers.conv import TNConv
from tnlayers_backends.torch.layers.embedding import TNEmbedding
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import parts_of
from torch import Tensor, nn

from tnlayers.compress.observing import input_of

_SIZES = (
    *("in_features", "out_features", "num_embeddings", "embedding_dim", "in_channels", "out_channels"),
    *("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
)


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
        if not self.part:
            return output if isinstance(output, Tensor) else None
        if isinstance(self.host, nn.MultiheadAttention):
            found: Tensor | None = output[0] if self.part == "out_proj" else self._through(args, kwargs)
            if found is None or found.ndim < 3 or self.host.batch_first:
                return found
            return found.transpose(0, 1)  # the network's attention works batch first
        return self._through(args, kwargs)

    def _through(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        x = input_of(self.host, self.part, args, kwargs)
        return None if x is None else self.dense(x)

    def reason_against(self, layer: TNModule) -> str:
        """Why a layer is no network for this weight, or cannot be fitted to it; "" where it can."""
        if isinstance(self.host, nn.RNNBase):
            return f"the steps inside an nn.{type(self.host).__name__} do not show what goes into each of its weights"
        kinds = ((TNLinear, nn.Linear), (TNEmbedding, nn.Embedding), (TNConv, (nn.Conv1d, nn.Conv2d, nn.Conv3d)))
        if not any(isinstance(layer, own) and isinstance(self.dense, dense) for own, dense in kinds):
            return f"a {type(layer).__name__} does not stand for the teacher's {type(self.host).__name__}"
        for name in (name for name in _SIZES if hasattr(self.dense, name)):
            own, dense = getattr(layer, name), getattr(self.dense, name)
            if own != dense:
                return f"its {name} is {own}, that of the teacher's layer {dense}"
        return ""


def twins_of(teacher: nn.Module) -> dict[str, Twin]:
    """The dense weights of a model by name."""
    found: dict[str, Twin] = {}
    for path, module in teacher.named_modules():
        for part, dense in parts_of(module).items():
            # Attention comes before the layer of its output, a module that it does not call but takes the weight of.
            found.setdefault(".".join(filter(None, (path, part))), Twin(host=module, part=part, dense=dense))
    return found
