"""The data set on the device: whole, as tensors, giving batches as the recipe wants them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tnlayers.train.augment import Draws, cut, windows
from tnlayers.train.data import Dataset, Part, hold_out
from tnlayers.train.normalise import Normalisation
from tnlayers.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DevicePart:
    """Images and labels on the device.

    Attributes:
        images: (N, C, H, W), float32 or bytes.
        labels: (N,) int64.
        normalisation: Applied to every batch; None leaves it as it is.
        windows: Of the framed images, where they are augmented; see `augment`.
    """

    images: Tensor
    labels: Tensor
    normalisation: Normalisation | None = None
    windows: Tensor | None = field(default=None)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        """Return the images (B, C, H, W) float32 of the chosen numbers (B,), augmented if there are draws."""
        if draws is not None and self.windows is not None:
            images = cut(self.windows, chosen, draws)
        else:
            images = self.images[chosen]
        return images if self.normalisation is None else self.normalisation(images)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DeviceData:
    """Training and test part on the device, and the part held out of training if there is one."""

    train: DevicePart
    test: DevicePart
    validation: DevicePart | None = None

    @classmethod
    def put(cls, dataset: Dataset, device: torch.device, recipe: Recipe) -> DeviceData:
        """Copy a data set to the device, split and normalised as the recipe says."""
        dataset = hold_out(dataset, recipe.validation)
        images = torch.tensor(dataset.train.images, device=device)
        normalisation = Normalisation.of(images, recipe.normalise)

        def part(content: Part) -> DevicePart:
            return DevicePart(
                images=torch.tensor(content.images, device=device),
                labels=torch.tensor(content.labels, device=device),
                normalisation=normalisation,
            )

        return cls(
            train=DevicePart(
                images=images,
                labels=torch.tensor(dataset.train.labels, device=device),
                normalisation=normalisation,
                windows=windows(images) if recipe.augment else None,
            ),
            test=part(dataset.test),
            validation=part(dataset.validation) if dataset.validation is not None else None,
        )
