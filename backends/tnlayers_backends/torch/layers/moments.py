"""Second moments of a layer's inputs, from a sample: what a data-aware decomposition weighs errors by.

They are added up batch by batch in double precision, so a sample may be any iterable of batches; of a convolution the
patches of a few images at a time are laid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from tnlayers.cores.convolve import pad_ahead
from tnlayers.declare.window import Window
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.run.primitives import OPS

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
            vectors = wide(chunk)
            total = total.to(vectors) + vectors.mT @ vectors.conj()
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
    total, count = torch.zeros(()), 0
    for batch in _batches(sample):
        if batch.ndim != len(moves.kernel) + 2 or batch.shape[1] != channels:
            raise TNLayersError(
                f"The sample has shape {tuple(batch.shape)}; the layer takes (batch, {channels}, *positions) with "
                f"{len(moves.kernel)} dimensions of positions."
            )
        for images in torch.split(batch, images_at_once(batch, moves)):
            rows = conv_patches(images, moves, groups)
            total = total.to(rows) + torch.einsum("gsi,gsj->ij", rows, rows.conj())
            count += rows.shape[0] * rows.shape[1]
    return _mean(total, count)


def conv_patches(images: Tensor, moves: Window, groups: int) -> Tensor:
    """What a convolution multiplies its kernel with, in (at least) double precision.

    Args:
        images: Of shape (batch, channels, *positions).
        moves: How the kernel moves.
        groups: The groups of channels that do not see each other.

    Returns:
        Patches of shape (groups, batch * output positions, kernel positions * channels / groups).
    """
    positions, own = moves.out_sizes(tuple(images.shape[2:])), images.shape[1] // groups
    padded = _padded(wide(images), moves)
    seen = []
    for offset in product(*(range(size) for size in moves.kernel)):
        steps = zip(offset, moves.dilation, moves.stride, positions, strict=True)
        cuts = tuple(slice(k * apart, k * apart + (n - 1) * step + 1, step) for k, apart, step, n in steps)
        seen.append(padded[(slice(None), slice(None), *cuts)].reshape(len(images), groups, own, prod(positions)))
    patches = torch.stack(seen, 2)  # (batch, groups, kernel positions, own channels, positions)
    return patches.permute(1, 0, 4, 2, 3).reshape(groups, len(images) * prod(positions), len(seen) * own)


def images_at_once(images: Tensor, moves: Window) -> int:
    """How many images have patches of a few ten megabytes, at least one."""
    positions = moves.out_sizes(tuple(images.shape[2:]))
    return max(_ENTRIES // (prod(moves.kernel) * images.shape[1] * prod(positions)), 1)


def _padded(images: Tensor, moves: Window) -> Tensor:
    if moves.ahead:
        padded: Tensor = pad_ahead(OPS, images, moves)
        return padded
    return torch.nn.functional.pad(images, [n for pair in reversed(moves.padding) for n in pair])


def _batches(sample: Sample) -> Iterator[Tensor]:
    for batch in [sample] if isinstance(sample, Tensor) else sample:
        yield batch if batch.layout == torch.strided else batch.to_dense()


def wide(array: Tensor) -> Tensor:
    """The array in double precision, real or complex."""
    return array.to(torch.promote_types(array.dtype, torch.float64))


def _mean(total: Tensor, count: int) -> Tensor:
    if count == 0:
        raise TNLayersError("The sample is empty: give at least one input, and better several times in_features.")
    return total / count
