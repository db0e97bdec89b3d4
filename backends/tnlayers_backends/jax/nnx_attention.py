"""`TNMultiHeadAttention`: attention as a Flax NNX module, a network for each projection."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tnlayers.cores.attention import attend, check_heads, merge_heads, split_heads
from tnlayers_backends.jax.nnx import TNLinear
from tnlayers_backends.jax.nnx_dropout import make_dropout
from tnlayers_backends.jax.nnx_layers import Network
from tnlayers_backends.jax.primitives import OPS


class TNMultiHeadAttention(nnx.Module):
    """`nnx.MultiHeadAttention` with a network for each of its projections `query`, `key`, `value` and `out`.

    Args:
        num_heads: Heads that qkv_features is split into.
        in_features: Size of each query.
        qkv_features: Size of queries, keys and values of all heads together; in_features if None.
        out_features: Size of each output; in_features if None.
        in_kv_features: Size of each key and value that is given; in_features if None.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        dropout_rate: Probability of dropping an attention weight, in training.
        deterministic: Whether nothing is dropped; `module.train()` and `module.eval()` set it.
        use_bias: Whether the projections add a bias.
        network: The network of all projections.
        rngs: Draws the parameters by its stream "params", what is dropped by "dropout".
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If the heads do not divide qkv_features, or a network does not fit.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNMultiHeadAttention(4, 64, network="mpo(cores=2, bond=8)", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((2, 10, 64))).shape
        (2, 10, 64)
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        in_kv_features: int | None = None,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        use_bias: bool = True,
        network: Network = "mpo",
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        inner, given = qkv_features or in_features, in_kv_features or in_features
        check_heads(inner, num_heads)
        own: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype, "param_dtype": param_dtype, "network": network}
        own |= keywords
        self.num_heads = num_heads
        self.query = TNLinear(in_features, inner, rngs=rngs, **own)
        self.key, self.value = (TNLinear(given, inner, rngs=rngs, **own) for _ in range(2))
        self.out = TNLinear(inner, out_features or in_features, rngs=rngs, **own)
        self.dropout = make_dropout(dropout_rate, deterministic, rngs)

    def __call__(self, inputs_q: Any, inputs_k: Any = None, inputs_v: Any = None, *, mask: Any = None) -> jax.Array:
        """Attend.

        Args:
            inputs_q: (..., length, in_features).
            inputs_k: (..., source, in_kv_features); inputs_q if None.
            inputs_v: Likewise; inputs_k if None.
            mask: (..., heads or 1, length, source): True where a key is attended to.

        Returns:
            (..., length, out_features).
        """
        inputs_k = inputs_q if inputs_k is None else inputs_k
        inputs_v = inputs_k if inputs_v is None else inputs_v
        given = zip((self.query, self.key, self.value), (inputs_q, inputs_k, inputs_v), strict=True)
        q, k, v = (project(jnp.asarray(x)) for project, x in given)
        leading = q.shape[:-2]
        q, k, v = (split_heads(OPS, x.reshape(-1, *x.shape[-2:]), self.num_heads) for x in (q, k, v))
        added = None
        if mask is not None:
            mask = jnp.broadcast_to(jnp.asarray(mask), (*leading, self.num_heads, q.shape[2], k.shape[2]))
            mask = mask.reshape(q.shape[0], *mask.shape[-3:])
            added = jnp.where(mask, 0.0, -jnp.inf).astype(q.dtype)
        y, _ = attend(OPS, q, k, v, added, self.dropout)
        y = merge_heads(OPS, y)
        return self.out(y.reshape(*leading, *y.shape[1:]))
