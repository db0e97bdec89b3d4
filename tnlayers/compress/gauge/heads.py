"""Rotations inside the heads of attention: of queries and keys together, and of values, which the output absorbs.

A head's scores are q k', and its result is a mixture of its values; both stay where q -> q R and k -> k R, and where
v -> v R and the output reads R' first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tnlayers.compress.gauge.dense import check_orthogonal, dense_layer, multiply_
from tnlayers.errors import TNLayersError


def turn_heads_(model: nn.Module, first: str, second: str, rotations: Sequence[Tensor]) -> None:
    """Rotate the features of every head, in place; the outputs stay.

    Args:
        model: A dense model.
        first: The layer that writes them: values, or queries.
        second: Where values are read, or where keys are written: a layer whose name ends in "key" is turned at its
            outputs, any other at its inputs.
        rotations: R of each head, orthogonal: a head's vector v becomes v R.

    Raises:
        TNLayersError: If a layer is no `nn.Linear`, the sizes do not fit, or an R is not orthogonal.
    """
    one, other = dense_layer(model, first), dense_layer(model, second)
    writes = second.rpartition(".")[2] == "key"
    size, rest = divmod(one.out_features, max(len(rotations), 1))
    if not rotations or rest or (other.out_features if writes else other.in_features) != one.out_features:
        raise TNLayersError(
            f"{first!r} writes {one.out_features} features and {second!r} is {other.in_features} -> "
            f"{other.out_features}: {len(rotations)} heads do not share them in equal parts."
        )
    for rotation in rotations:
        check_orthogonal(rotation, size, "turn_heads_")
    whole = _block_diagonal([rotation.double() for rotation in rotations])
    for layer in (one, other) if writes else (one,):
        multiply_(layer.weight, left=whole.T)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.copy_(whole.T @ layer.bias.double())
    if not writes:
        multiply_(other.weight, right=whole)


def _block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    size = len(blocks[0])
    whole = blocks[0].new_zeros(size * len(blocks), size * len(blocks))
    for k, block in enumerate(blocks):
        whole[k * size : (k + 1) * size, k * size : (k + 1) * size] = block
    return whole
