"""Steps of models that read tokens one after the other: what tokens may be, positions, causal attention."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from tnlayers.cores.attention import attend
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Runtime
from tnlayers.program.program import Array

LOG_SLOWEST = log(10_000.0)  # of the wavelengths of positions, the longest over the shortest


def check_tokens(tokens: Any, before: int, context: int, name: str) -> None:
    """Refuse what are no tokens (N, T), or more than a model reads.

    Args:
        tokens: An array of any framework.
        before: Tokens that were read before these.
        context: How many the model reads at most.
        name: Of the model.

    Raises:
        TNLayersError: With the shape and the dtype.
    """
    kind = str(tokens.dtype).removeprefix("torch.")
    if tokens.ndim != 2 or kind not in ("int64", "int32") or tokens.shape[1] == 0:
        raise TNLayersError(
            f"{name} reads tokens (N, T) of int64 with T at least 1, got {tuple(tokens.shape)} of {kind}."
        )
    if before + tokens.shape[1] > context:
        raise TNLayersError(
            f"{name} reads {context} tokens at most, got {before + tokens.shape[1]}. Give the last {context}, or a "
            "model of a longer context."
        )


def sinusoids(first: int, count: int, width: int) -> np.ndarray:
    """Positions first, first + 1, ...: sines in even columns, cosines in odd ones (arXiv 1706.03762, Sec. 3.5).

    Returns:
        (count, width) float64.

    Example:
        >>> sinusoids(0, 1, 4).tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """
    rates = np.exp(np.arange(0, width, 2) * (-LOG_SLOWEST / width))
    angle = np.arange(first, first + count)[:, None] * rates
    return np.stack((np.sin(angle), np.cos(angle)), 2).reshape(count, -1)


def read(at: Runtime, tokens: Array, before: int, context: int, name: str) -> Array:
    """The tokens, if they are such."""
    check_tokens(tokens, before, context, name)
    return tokens


def placed(at: Runtime, x: Array, before: int) -> Array:
    """Vectors (N, T, width) with their positions added."""
    return x + at.ops.like(sinusoids(before, x.shape[1], x.shape[2]), x)


def causal(at: Runtime, query: Array, key: Array, value: Array) -> Array:
    """Attention (N, heads, T, size) in which every token reads itself and those before it."""
    length = query.shape[2]
    later = np.triu(np.full((length, length), -np.inf), 1)
    return attend(at.ops, query, key, value, at.ops.like(later, query))[0]
