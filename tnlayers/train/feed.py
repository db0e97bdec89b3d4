"""The data set on the device: whole, as tensors, giving batches as the recipe wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError
from tnlayers.train.augment import Draws, cut, draw, windows
from tnlayers.train.data import Dataset, Part, hold_out
from tnlayers.train.normalise import Normalisation
from tnlayers.train.randomness import epoch_order
from tnlayers.train.recipe import Recipe


class Examples(Protocol):
    """A part of a data set as the loop sees it: numbered examples, each with one answer or several."""

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        ...

    @property
    def per_example(self) -> int:
        """Answers of an example: 1 for an image, one for each token of a stretch of text."""
        ...

    @property
    def one_pass(self) -> int:
        """How many examples an epoch has where the recipe does not say."""
        ...

    @property
    def count(self) -> int:
        """Answers of all examples together."""
        ...

    def order(self, count: int, *, seed: int, epoch: int) -> Tensor:
        """The numbers (count,) of the examples of an epoch, in the order of training."""
        ...

    def draws(self, *, seed: int, epoch: int) -> Draws | None:
        """What happens to each example in an epoch, if anything does."""
        ...

    def batch(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        """What the model is given for the chosen examples (B,)."""
        ...

    def answers(self, chosen: Tensor) -> Tensor:
        """The right classes (B,) or (B, T), -100 where any would do."""
        ...


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

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.labels.device

    @property
    def per_example(self) -> int:
        """One label."""
        return 1

    @property
    def one_pass(self) -> int:
        """All images."""
        return len(self)

    @property
    def count(self) -> int:
        """All labels."""
        return len(self)

    def order(self, count: int, *, seed: int, epoch: int) -> Tensor:
        """The first of a permutation of all images, (count,).

        Raises:
            TNLayersError: There are fewer images.
        """
        if count > len(self):
            raise TNLayersError(
                f"An epoch of {count} images has more than the {len(self)} of the training part. Use fewer --steps."
            )
        return epoch_order(len(self), seed=seed, epoch=epoch)[:count].to(self.device)

    def draws(self, *, seed: int, epoch: int) -> Draws | None:
        """Shifts and mirror images, where images are augmented."""
        return None if self.windows is None else draw(len(self), seed=seed, epoch=epoch, device=self.device)

    def answers(self, chosen: Tensor) -> Tensor:
        """The labels (B,)."""
        return self.labels[chosen]

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

    train: Examples
    test: Examples
    validation: Examples | None = None

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
