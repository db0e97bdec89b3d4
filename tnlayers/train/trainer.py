"""The epoch of a training, and what it needs of a framework: `loop.py` brings torch, `jax_loop.py` jax."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from lightning_fabric import Fabric

from tnlayers.errors import TNLayersError
from tnlayers.train.config import TrainConfig
from tnlayers.train.feed import DeviceData, Examples
from tnlayers.train.history import EpochRecord
from tnlayers.train.progress import Progress
from tnlayers.train.recipe import Recipe


class DivergedError(TNLayersError):
    """The loss of a model is not finite any more; other models of the same run may still train well."""


class Held(Protocol):
    """What training changes, as checkpoints take and give it."""

    @property
    def fabric(self) -> Fabric:
        """Launched."""
        ...

    def gather(self) -> dict[str, Any]:
        """Weights, optimizer, averages and random states as tensors by name, to be written by process 0."""
        ...

    def scatter(self, state: Mapping[str, Any]) -> None:
        """Put what `gather` returned back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Trainer(ABC):
    """A model with all that its epochs need.

    Attributes:
        data: Training and test part.
        recipe: Batch size and learning rates.
        seed: Of the order of the data.
        steps: Steps per epoch.
        progress: Told of every step.
    """

    data: DeviceData
    recipe: Recipe
    seed: int
    steps: int
    progress: Progress

    @abstractmethod
    def train(self, epoch: int) -> float:
        """Do the steps of one epoch and return the mean loss over its images."""

    @abstractmethod
    def test(self, part: Examples) -> tuple[float, float]:
        """Return the mean loss and the accuracy on a whole part, the same on every process."""

    def averages(self) -> AbstractContextManager[None]:
        """The moving averages in the place of the weights, where there are any."""
        return nullcontext()

    def epoch(self, epoch: int) -> EpochRecord:
        """Train for one epoch, then test; every process returns the same record but for the times.

        Raises:
            DivergedError: The loss is not finite any more.
        """
        start = time.perf_counter()
        train_loss = self.train(epoch)
        trained = time.perf_counter()
        if not math.isfinite(train_loss):
            raise DivergedError(
                f"Training diverged: the loss of epoch {epoch} is {train_loss} at learning rate {self.recipe.lr} "
                f"(momentum {self.recipe.momentum}). Try a smaller one: --lr {self.recipe.lr / 4:.3g}."
            )
        held_out = self.data.validation
        with self.averages():
            test_loss, accuracy = self.test(self.data.test)
            chosen_by = self.test(held_out) if held_out is not None else (None, None)
        return EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            test_loss=test_loss,
            test_accuracy=accuracy,
            validation_loss=chosen_by[0],
            validation_accuracy=chosen_by[1],
            lr=self.recipe.lr_at(epoch * self.steps - 1, steps_per_epoch=self.steps),
            seconds=trained - start,
            test_seconds=time.perf_counter() - trained,
        )


# Makes a trainer of a torch model that is initialised, and what of it checkpoints hold; the third leaves the weights
# that are kept in the torch model.
Begin = Callable[..., tuple[Trainer, Held, Callable[[], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one framework trains.

    Attributes:
        ready: The setting that a run needs; refuses what of a configuration the framework cannot do.
        launch: Starts Fabric for a configuration.
        begin: Makes a trainer: `begin(fabric=..., model=..., data=..., recipe=..., seed=..., steps=..., progress=...)`.
        environment: What results say of the framework.
    """

    ready: Callable[[TrainConfig], AbstractContextManager[Any]]
    launch: Callable[[TrainConfig], Fabric]
    begin: Begin
    environment: Callable[[], Mapping[str, str]]
