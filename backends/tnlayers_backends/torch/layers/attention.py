"""`TNMultiheadAttention`: a drop-in replacement for `nn.MultiheadAttention` whose projections are tensor networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.cores.attention import attend, check_heads, mask_of, merge_heads, split_heads
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.computed import ComputedWeights, computed
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.projections import Network, networks_of, projection, redraw
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS

_PROJECTIONS = ("q", "k", "v", "out")


class TNMultiheadAttention(ComputedWeights):
    """Multi-head attention (arXiv 1706.03762) with a network for each of `q_proj`, `k_proj`, `v_proj` and `out_proj`.

    Args:
        embed_dim: Size of each query and each output.
        num_heads: Heads that embed_dim is split into.
        dropout: Probability of dropping an attention weight, in training.
        bias: Whether the projections add a bias.
        add_bias_kv: Not offered.
        add_zero_attn: Not offered.
        kdim: Size of each key; embed_dim if None.
        vdim: Size of each value; embed_dim if None.
        batch_first: Whether inputs are (batch, length, size) rather than (length, batch, size).
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: The network of all projections.
        networks: Networks by projection, "q", "k", "v" or "out", in place of `network`; None is a dense one.
        seed: Draws the parameters; None takes torch's global generator.

    Raises:
        TNLayersError: If the heads do not divide embed_dim, or an option is not offered.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNMultiheadAttention(64, 4, batch_first=True, network="mpo(cores=2, bond=8)", seed=0)
        >>> x = torch.zeros(2, 10, 64)
        >>> y, weights = layer(x, x, x)
        >>> y.shape, weights.shape
        (torch.Size([2, 10, 64]), torch.Size([2, 10, 10]))
    """

    # Torch's transformer layers ask for these. False keeps them from taking a fast path that would make all dense.
    _qkv_same_embed_dim = False
    bias_k = None
    bias_v = None
    add_zero_attn = False

    q_proj: TNLinear | nn.Linear
    k_proj: TNLinear | nn.Linear
    v_proj: TNLinear | nn.Linear
    out_proj: TNLinear | nn.Linear

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        _check(embed_dim, num_heads, add_bias_kv, add_zero_attn)
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first = dropout, batch_first
        inputs, variances = self._inputs(), self._variances()
        for number, (name, own) in enumerate(networks_of(_PROJECTIONS, network, networks).items()):
            own_seed = None if seed is None else 4 * seed + number
            made = projection(inputs[name], embed_dim, bias, own, variances[name], device, dtype, own_seed)
            if made.bias is not None:
                nn.init.zeros_(made.bias)
            setattr(self, f"{name}_proj", made)

    def _inputs(self) -> dict[str, int]:
        """What each projection reads."""
        return {"q": self.embed_dim, "k": self.kdim, "v": self.vdim, "out": self.embed_dim}

    def _variances(self) -> dict[str, float]:
        """Torch draws q, k and v by Glorot's rule: together where they have one size, one by one where they differ."""
        same = self.kdim == self.vdim == self.embed_dim
        found = {name: 2 / (size + (3 if same else 1) * self.embed_dim) for name, size in self._inputs().items()}
        return found | {"out": 1 / (3 * self.embed_dim)}

    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw all parameters anew, as at construction with this seed; biases become zero."""
        for number, (name, variance) in enumerate(self._variances().items()):
            layer = getattr(self, f"{name}_proj")
            redraw(layer, variance, None if seed is None else 4 * seed + number)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    @property
    def in_proj_bias(self) -> Tensor | None:
        """The biases of q, k and v one after the other, for code that reads it."""
        biases = [getattr(self, f"{name}_proj").bias for name in "qkv"]
        return None if biases[0] is None else computed(torch.cat(biases), self, "in_proj_bias")

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The dense weights of q, k and v one below the other, rebuilt at each access; None where sizes differ."""
        if not self.kdim == self.vdim == self.embed_dim:
            return None
        weights = torch.cat([getattr(self, f"{name}_proj").weight for name in "qkv"])
        return computed(weights, self, "in_proj_weight")

    @torch.no_grad()
    def to_attention(self) -> nn.MultiheadAttention:
        """An `nn.MultiheadAttention` that computes the same, with parameters of its own."""
        out = self.out_proj.weight
        dense = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            self.out_proj.bias is not None,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.batch_first,
            device=out.device,
            dtype=out.dtype,
        )
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is not None:
            dense.in_proj_weight.copy_(weight)
        else:
            for name in "qkv":
                getattr(dense, f"{name}_proj_weight").copy_(getattr(self, f"{name}_proj").weight)
        dense.out_proj.weight.copy_(out)
        if bias is not None and self.out_proj.bias is not None:
            dense.in_proj_bias.copy_(bias)
            dense.out_proj.bias.copy_(self.out_proj.bias)
        return dense.train(self.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, with the arguments and the results of `nn.MultiheadAttention`.

        Args:
            query: (length, batch, embed_dim), (batch, length, embed_dim) if `batch_first`, or (length, embed_dim).
            key: (source, batch, kdim), likewise.
            value: (source, batch, vdim), likewise.
            key_padding_mask: (batch, source): True, or a number to add to the scores, where a key is left out.
            need_weights: Whether to return the attention weights too; without them attention runs faster.
            attn_mask: (length, source) or (batch * heads, length, source), likewise.
            average_attn_weights: Whether the weights returned are the mean over heads.
            is_causal: That `attn_mask` is the causal one, which then need not be read.

        Returns:
            The output, of the query's shape, and the weights (batch, length, source), or None.
        """
        check_tensors(self, query=query, key=key, value=value)
        if is_causal and attn_mask is None:
            raise TNLayersError("is_causal says what attn_mask is, so it needs one: pass the causal attn_mask too.")
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q = self._heads(self.q_proj(query))  # (batch, heads, length, head_dim)
        k, v = self._heads(self.k_proj(key)), self._heads(self.v_proj(value))
        dropout = self.dropout if self.training else 0.0
        masks = attn_mask, key_padding_mask
        if is_causal and key_padding_mask is None and not need_weights:
            y, weights = functional.scaled_dot_product_attention(q, k, v, None, dropout, is_causal=True), None
        else:
            numbers = (mask if mask is None or mask.dtype is torch.bool else mask.to(q.dtype) for mask in masks)
            mask = mask_of(OPS, q, *numbers)
            y, weights = _attend(q, k, v, mask, dropout, need_weights)
        y = self.out_proj(merge_heads(OPS, y))  # (batch, length, embed_dim)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = split_heads(OPS, x, self.num_heads)
        return heads

    def extra_repr(self) -> str:
        """Sizes, shown when the module is printed."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    if not need_weights:
        return functional.scaled_dot_product_attention(q, k, v, mask, dropout), None
    y, weights = attend(OPS, q, k, v, mask, lambda weights: functional.dropout(weights, dropout))
    return y, weights


def _check(embed_dim: int, num_heads: int, add_bias_kv: bool, add_zero_attn: bool) -> None:
    check_heads(embed_dim, num_heads)
    if add_bias_kv or add_zero_attn:
        raise TNLayersError(
            f"add_bias_kv={add_bias_kv}, add_zero_attn={add_zero_attn}: neither is offered here. Append the "
            "extra key and value to the inputs instead."
        )
