"""Augmentation of whole batches on the device: each image framed by 4 black pixels, cut out again, perhaps mirrored.

What happens to an image in an epoch is a function of (seed, epoch, image): it depends neither on the batch it comes in,
nor on the number of processes, nor on where training was interrupted. The framed images are kept, and a batch is one
gather from a view of all their windows: 3 ms for 250 images of CIFAR-10 on one core, normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.train.randomness import mixed_seed

PAD = 4
DRAWS = 1  # tells these random numbers from those of the order of the same epoch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Draws:
    """What happens to each image in one epoch.

    Attributes:
        rows: (N,) int64, first row of the window in the framed image, 0 to 8; 4 leaves the image where it is.
        columns: (N,) int64, first column alike.
        mirrored: (N,) bool.
    """

    rows: Tensor
    columns: Tensor
    mirrored: Tensor


def draw(images: int, *, seed: int, epoch: int, device: torch.device) -> Draws:
    """Draw for every image of an epoch; made on the CPU so that every device sees the same."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, DRAWS))
    rows, columns = torch.randint(2 * PAD + 1, (2, images), generator=generator).to(device)
    mirrored = torch.randint(2, (images,), generator=generator).bool().to(device)
    return Draws(rows=rows, columns=columns, mirrored=mirrored)


def windows(images: Tensor) -> Tensor:
    """Frame images (N, C, H, W) with zeros and return all their windows, (N, C, 9, 9, H, W), without copying any."""
    height, width = images.shape[2:]
    return functional.pad(images, (PAD,) * 4).unfold(2, height, 1).unfold(3, width, 1)


def cut(windows: Tensor, chosen: Tensor, draws: Draws) -> Tensor:
    """Return the chosen images (B, C, H, W) as drawn.

    Args:
        windows: Of all images, (N, C, 9, 9, H, W).
        chosen: Which images, (B,) int64.
        draws: Of all images.
    """
    images = windows[chosen, :, draws.rows[chosen], draws.columns[chosen]]  # (B, C, H, W)
    return torch.where(draws.mirrored[chosen, None, None, None], images.flip(3), images)
