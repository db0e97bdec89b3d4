"""The framework-free half of multi-head attention (arXiv 1706.03762, Eq. 1): heads, masks, scores, weights."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array


def split_heads(ops: Arithmetic, x: Array, heads: int) -> Array:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    batch, length, size = x.shape
    return ops.permute(ops.reshape(x, (batch, length, heads, size // heads)), (0, 2, 1, 3))


def merge_heads(ops: Arithmetic, x: Array) -> Array:
    """(batch, heads, length, size) as (batch, length, heads * size)."""
    batch, heads, length, size = x.shape
    return ops.reshape(ops.permute(x, (0, 2, 1, 3)), (batch, length, heads * size))


def added(ops: Arithmetic, mask: Array, like: Array) -> Array:
    """A mask as numbers to add to scores: minus infinity where a boolean one is True, others as they are."""
    if not str(mask.dtype).endswith("bool"):
        return mask
    return ops.where(mask, ops.zeros((), like) - float("inf"), ops.zeros((), like))


def mask_of(ops: Arithmetic, q: Array, attn_mask: Array | None, key_padding_mask: Array | None) -> Array | None:
    """What is added to the scores (batch, heads, length, source), or None.

    Args:
        ops: The primitives of the arrays' backend.
        q: Queries, (batch, heads, length, size).
        attn_mask: (length, source) or (batch * heads, length, source), boolean or numbers to add.
        key_padding_mask: (batch, source), likewise.
    """
    batch, heads = q.shape[:2]
    total: Array | None = None
    if attn_mask is not None:
        if attn_mask.ndim == 3:
            attn_mask = ops.reshape(attn_mask, (batch, heads, *attn_mask.shape[1:]))
        total = added(ops, attn_mask, q)
    if key_padding_mask is not None:
        padding = added(ops, key_padding_mask, q)[:, None, None, :]
        total = padding if total is None else total + padding
    return total


def attend(
    ops: Arithmetic, q: Array, k: Array, v: Array, mask: Array | None, dropout: Callable[[Array], Array] | None = None
) -> tuple[Array, Array]:
    """softmax(q k^T / sqrt(size) + mask) v, head by head.

    Args:
        ops: The primitives of the arrays' backend.
        q: (batch, heads, length, size).
        k: (batch, heads, source, size).
        v: (batch, heads, source, size).
        mask: What is added to the scores.
        dropout: What is done to the weights.

    Returns:
        The result, (batch, heads, length, size), and the weights, (batch, heads, length, source).
    """
    batch, heads, length, size = q.shape
    stacks, source = batch * heads, k.shape[2]
    rows, columns = ops.reshape(q, (stacks, length, size)), ops.reshape(k, (stacks, source, size))
    scores = ops.matmul(rows * (1 / sqrt(size)), ops.permute(columns, (0, 2, 1)))
    scores = ops.reshape(scores, (batch, heads, length, source))
    weights = ops.softmax(scores if mask is None else scores + mask)
    if dropout is not None:
        weights = dropout(weights)
    y = ops.matmul(ops.reshape(weights, (stacks, length, source)), ops.reshape(v, (stacks, source, v.shape[3])))
    return ops.reshape(y, (batch, heads, length, v.shape[3])), weights


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Refuse heads that do not divide the features.

    Raises:
        TNLayersError: With both numbers.
    """
    if num_heads < 1 or embed_dim % num_heads:
        raise TNLayersError(f"num_heads={num_heads} must divide embed_dim={embed_dim}: every head has equally many.")
