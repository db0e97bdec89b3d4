"""Attention as a host of four weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tnlayers_backends.torch.layers.attention import TNMultiheadAttention
from tnlayers_backends.torch.layers.ordinary import reason_against as more_than_plain
from tnlayers_backends.torch.modules.host import Host, as_linear, filled, tensor

_INPUTS = {"q_proj": (0, "query"), "k_proj": (1, "key"), "v_proj": (2, "value")}


class Attention(Host):
    """`nn.MultiheadAttention`."""

    def parts(self, module: nn.MultiheadAttention) -> dict[str, nn.Module]:
        biases: tuple[Tensor | None, ...] = (None, None, None)
        if module.in_proj_bias is not None:
            requires = module.in_proj_bias.requires_grad
            biases = tuple(bias.requires_grad_(requires) for bias in module.in_proj_bias.detach().chunk(3))
        if module.in_proj_weight is not None:
            requires = module.in_proj_weight.requires_grad
            weights = [weight.requires_grad_(requires) for weight in module.in_proj_weight.detach().chunk(3)]
        else:
            weights = [tensor(module, f"{name}_proj_weight") for name in "qkv"]
        parts = {f"{name}_proj": as_linear(w, b) for name, w, b in zip("qkv", weights, biases, strict=True)}
        return {**parts, "out_proj": as_linear(module.out_proj.weight, module.out_proj.bias)}

    def reason_against(self, module: nn.MultiheadAttention) -> str:
        if reason := more_than_plain(module.out_proj):
            return f"of its out_proj, {reason}"
        if module.bias_k is not None or module.add_zero_attn:
            return "attention with add_bias_kv or add_zero_attn"
        return ""

    def assembled(self, module: nn.MultiheadAttention, parts: Mapping[str, nn.Module]) -> nn.Module:
        new = TNMultiheadAttention(
            module.embed_dim,
            module.num_heads,
            module.dropout,
            module.in_proj_bias is not None,
            kdim=module.kdim,
            vdim=module.vdim,
            batch_first=module.batch_first,
            device="meta",
            network=None,
        )
        return filled(new, parts)

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As `Host`; what goes into the output's projection does not show."""
        if part not in _INPUTS:
            return None
        place, name = _INPUTS[part]
        value = args[place] if place < len(args) else kwargs.get(name)
        return value if isinstance(value, Tensor) else None

    def put_out(self, module: Any, part: str, dense: nn.Module, args: Any, kwargs: Any, output: Any) -> Tensor | None:
        """As `Host`, batch first, as the network's attention works."""
        found: Tensor | None = output[0]
        if part in _INPUTS:
            found = super().put_out(module, part, dense, args, kwargs, output)
        return found if found is None or found.ndim < 3 or module.batch_first else found.transpose(0, 1)
