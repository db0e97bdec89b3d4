"""Second moments of a layer's inputs, from a sample: what a data-aware decomposition weighs errors by.

They are added up batch by batch in double precision, so a sample may be any iterable of batches, and of a convolution
no patches are ever laid out: the moment of two kernel positions is one product of two shifted views of the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError
from tnlayers.window import Window
from tnlayers_backends.torch.conv_program import pad_ahead

Sample: TypeAlias = "Tensor | Iterable[Tensor]"
_ENTRIES = 2**22  # of one chunk in double precision: 32 MB


@torch.no_grad()
def linear_moment(sample: Sample, features: int) -> Tensor:
    """E[x x^H] of vectors.

    Args:
        sample: Of shape (..., features), or batches of that shape.
        features: Size of each vector.

    Returns:
        A matrix of shape (features, features) in double precision.

    Raises:
        TNLayersError: If the sample has no vectors, or another last dimension.

    Example:
        >>> import torch
        >>> linear_moment(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), 2).tolist()
        [[5.0, 1.0], [1.0, 2.0]]
    """
    total, count = torch.zeros(()), 0
    for batch in _batches(sample):
        if batch.ndim == 0 or batch.shape[-1] != features:
            raise TNLayersError(f"The sample has shape {tuple(batch.shape)}; the layer takes (..., {features}).")
        rows = batch.reshape(-1, features)
        for chunk in torch.split(rows, max(_ENTRIES // features, 1)):
            wide = _wide(chunk)
            total = total.to(wide) + wide.mT @ wide.conj()
            count += len(chunk)
    return _mean(total, count)


@torch.no_grad()
def conv_moment(sample: Sample, moves: Window, channels: int, groups: int) -> Tensor:
    """E[x x^H] of the patches that a convolution multiplies its kernel with, features ordered (*kernel, channels).

    Args:
        sample: Images of shape (batch, channels, *positions), or batches of them.
        moves: How the kernel moves.
        channels: Channels of the input, of all groups.
        groups: The groups that do not see each other; the result is the mean over them.

    Returns:
        A matrix of shape (n, n), n = kernel positions times channels / groups, in double precision.

    Raises:
        TNLayersError: If the sample has no images, or they have other channels.
    """
    own, offsets = channels // groups, list(product(*(range(size) for size in moves.kernel)))
    total, count = torch.zeros(()), 0
    for batch in _batches(sample):
        if batch.ndim != len(moves.kernel) + 2 or batch.shape[1] != channels:
            raise TNLayersError(
                f"The sample has shape {tuple(batch.shape)}; the layer takes (batch, {channels}, *positions) with "
                f"{len(moves.kernel)} dimensions of positions."
            )
        positions = moves.out_sizes(tuple(batch.shape[2:]))
        for images in torch.split(batch, max(_ENTRIES // (channels * prod(positions)), 1)):
            padded = _padded(_wide(images), moves)
            views = [_shifted(padded, moves, offset, positions, own) for offset in offsets]  # each (own, samples)
            blocks = [[a @ b.mH for b in views] for a in views]
            total = total.to(padded) + torch.cat([torch.cat(row, 1) for row in blocks])
            count += len(images) * prod(positions) * groups
    return _mean(total, count)


def _padded(images: Tensor, moves: Window) -> Tensor:
    if moves.ahead:
        return pad_ahead(images, moves)
    return torch.nn.functional.pad(images, [n for pair in reversed(moves.padding) for n in pair])


def _shifted(padded: Tensor, moves: Window, offset: tuple[int, ...], positions: tuple[int, ...], own: int) -> Tensor:
    """What one position of the kernel sees, as (channels of a group, batch * groups * positions)."""
    steps = zip(offset, moves.dilation, moves.stride, positions, strict=True)
    cuts = tuple(slice(k * dilation, k * dilation + (n - 1) * stride + 1, stride) for k, dilation, stride, n in steps)
    seen = padded[(slice(None), slice(None), *cuts)]
    return seen.reshape(-1, own, prod(positions)).movedim(1, 0).reshape(own, -1)


def _batches(sample: Sample) -> Iterator[Tensor]:
    yield from [sample] if isinstance(sample, Tensor) else sample


def _wide(array: Tensor) -> Tensor:
    return array.to(torch.promote_types(array.dtype, torch.float64))


def _mean(total: Tensor, count: int) -> Tensor:
    if count == 0:
        raise TNLayersError("The sample is empty: give at least one input, and better several times in_features.")
    return total / count


def conv_patches(images: Tensor, moves: Window) -> Tensor:
    """What a convolution of one group multiplies its kernel with, (samples, kernel positions * channels).

    Args:
        images: Of shape (batch, channels, *positions).
        moves: How the kernel moves.
    """
    positions = moves.out_sizes(tuple(images.shape[2:]))
    padded = _padded(_wide(images), moves)
    offsets = product(*(range(size) for size in moves.kernel))
    return torch.cat([_shifted(padded, moves, offset, positions, images.shape[1]) for offset in offsets]).mT
