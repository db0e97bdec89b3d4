"""The steps of `tnlayers.forms.causal` on torch; a trace has each as one step (`fx.wrap` where it is used)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tnlayers.errors import TNLayersError
from tnlayers.forms import causal as forms


def read_tokens(tokens: Any, before: int, context: int, name: str) -> Tensor:
    """The tokens (N, T), if they are such and the model reads so many.

    Raises:
        TNLayersError: They are not.
    """
    if not isinstance(tokens, Tensor):
        raise TNLayersError(
            f"{name} reads a tensor of tokens (N, T) int64, got a {type(tokens).__name__}. torch.as_tensor makes one."
        )
    forms.check_tokens(tokens, before, context, name)
    return tokens


def add_positions(x: Tensor, before: int) -> Tensor:
    """Vectors (N, T, width) with their positions added, the first of which is `before`."""
    count, width = x.shape[1:]
    place = torch.arange(before, before + count, dtype=torch.float64)[:, None]
    angle = place * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-forms.LOG_SLOWEST / width))
    return x + torch.stack((angle.sin(), angle.cos()), 2).flatten(1).to(x.dtype).to(x.device)


def attend_causally(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention (N, heads, T, size) in which every token reads itself and those before it; keys may be more.

    With T queries and S keys the last query reads all, the one before it all but the last.
    """
    new, all_of_them = query.shape[2], key.shape[2]
    if new == all_of_them:
        return scaled_dot_product_attention(query, key, value, is_causal=True)
    mask = torch.ones(new, all_of_them, dtype=torch.bool, device=query.device).tril(all_of_them - new)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)
