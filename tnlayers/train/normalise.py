"""Normalisation: images as float32, less the mean of the training part, over its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 5000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Normalisation:
    """What is taken off images and by what they are divided, both in the images' own units.

    Attributes:
        mean: (C, H, W), (C, 1, 1) or a scalar.
        std: Alike.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor, kind: str) -> Normalisation | None:
        """Measure training images (N, C, H, W).

        Args:
            images: Bytes or float32.
            kind: "pixel" of every channel, "channel", or "none", which brings bytes to [0, 1] and leaves the rest.
        """
        if kind == "none":
            scale = torch.tensor(255.0, device=images.device)
            return cls(mean=torch.zeros_like(scale), std=scale) if images.dtype == torch.uint8 else None
        total = torch.zeros(images.shape[1:], dtype=torch.float64, device="cpu")
        squares = torch.zeros_like(total)
        for start in range(0, len(images), CHUNK):  # all at once would take eight times the memory of bytes
            double = images[start : start + CHUNK].cpu().double()
            total += double.sum(0)
            squares += double.square().sum(0)
        mean, square = total / len(images), squares / len(images)
        if kind == "channel":
            mean, square = (value.mean((1, 2), keepdim=True) for value in (mean, square))
        # A pixel that is the same in all images has no spread: it is centred and left.
        std = (square - mean.square()).clamp_min(0).sqrt()
        std[std == 0] = 1
        return cls(mean=mean.float().to(images.device), std=std.float().to(images.device))

    def __call__(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) normalised, float32."""
        return (images.float() - self.mean) / self.std
