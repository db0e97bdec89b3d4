"""`TNMultiheadAttention`: attention as an Equinox module, a network for each projection."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from tnlayers.cores.attention import attend, check_heads, merge_heads, split_heads
from tnlayers_backends.jax.eqx import TNLinear
from tnlayers_backends.jax.eqx_layers import Network
from tnlayers_backends.jax.primitives import OPS


class TNMultiheadAttention(eqx.Module):
    """`eqx.nn.MultiheadAttention` with a network for each of its projections.

    Args:
        num_heads: Heads that the projections are split into.
        query_size: Size of each query.
        key_size: Size of each key; query_size if None.
        value_size: Size of each value; query_size if None.
        output_size: Size of each output; query_size if None.
        qk_size: Size of a projected query or key of one head; query_size // num_heads if None.
        vo_size: Size of a projected value of one head; query_size // num_heads if None.
        use_query_bias: Whether the projection of queries adds a bias.
        use_key_bias: Of keys.
        use_value_bias: Of values.
        use_output_bias: Of outputs.
        dropout_p: Probability of dropping an attention weight, in training.
        inference: Whether nothing is dropped.
        dtype: Of the parameters; jax's default if None.
        network: The network of all projections.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If the heads do not divide query_size, or a network does not fit.

    Example:
        >>> import jax
        >>> import tnlayers as tnl
        >>> key = jax.random.key(0)
        >>> layer = tnl.jax.eqx.TNMultiheadAttention(4, 64, network="mpo(cores=2, bond=8)", key=key)
        >>> x = jax.numpy.ones((10, 64))
        >>> layer(x, x, x).shape
        (10, 64)
    """

    query_proj: TNLinear
    key_proj: TNLinear
    value_proj: TNLinear
    output_proj: TNLinear
    dropout: eqx.nn.Dropout
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        num_heads: int,
        query_size: int,
        key_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        qk_size: int | None = None,
        vo_size: int | None = None,
        use_query_bias: bool = False,
        use_key_bias: bool = False,
        use_value_bias: bool = False,
        use_output_bias: bool = False,
        dropout_p: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        if qk_size is None or vo_size is None:
            check_heads(query_size, num_heads)
        own: dict[str, Any] = {"dtype": dtype, "network": network} | keywords
        inner = num_heads * (query_size // num_heads if qk_size is None else qk_size)
        outer = num_heads * (query_size // num_heads if vo_size is None else vo_size)
        keys = jax.random.split(key, 4)
        self.query_proj = TNLinear(query_size, inner, use_query_bias, key=keys[0], **own)
        self.key_proj = TNLinear(key_size or query_size, inner, use_key_bias, key=keys[1], **own)
        self.value_proj = TNLinear(value_size or query_size, outer, use_value_bias, key=keys[2], **own)
        self.output_proj = TNLinear(outer, output_size or query_size, use_output_bias, key=keys[3], **own)
        self.dropout, self.num_heads = eqx.nn.Dropout(dropout_p, inference), num_heads

    def __call__(
        self,
        query: jax.Array,
        key_: jax.Array,
        value: jax.Array,
        mask: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
        inference: bool | None = None,
    ) -> jax.Array:
        """Attend.

        Args:
            query: (length, query_size).
            key_: (source, key_size).
            value: (source, value_size).
            mask: (length, source) or (heads, length, source): True where a key is attended to.
            key: Says what is dropped.
            inference: Whether nothing is dropped; as at construction if None.

        Returns:
            (length, output_size).
        """
        given = ((self.query_proj, query), (self.key_proj, key_), (self.value_proj, value))
        q, k, v = (split_heads(OPS, project(x)[None], self.num_heads) for project, x in given)
        added = None if mask is None else jnp.where(mask, 0.0, -jnp.inf).astype(q.dtype)
        y, _ = attend(OPS, q, k, v, added, lambda weights: self.dropout(weights, key=key, inference=inference))
        return self.output_proj(merge_heads(OPS, y)[0])
