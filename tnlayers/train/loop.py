"""The training loop: gradient steps on data that live on the device, whole, as tensors.

The order of the data is a function of (seed, epoch) and of nothing before it. With P processes, each takes every P-th
image of every batch, and losses are weighted so that the gradient is the mean over the whole batch: one process and
several follow the same curve up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.data import Dataset, Part
from tnlayers.train.history import EpochRecord
from tnlayers.train.progress import Progress
from tnlayers.train.recipes import Recipe

TEST_CHUNK = 1000


class DivergedError(TNLayersError):
    """The loss of a model is not finite any more; other models of the same run may still train well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DevicePart:
    """Images (N, 1, 28, 28) float32 and labels (N,) int64 on the device."""

    images: Tensor
    labels: Tensor

    @classmethod
    def put(cls, part: Part, device: torch.device) -> DevicePart:
        """Copy a part of a data set to the device."""
        return cls(images=torch.tensor(part.images, device=device), labels=torch.tensor(part.labels, device=device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DeviceData:
    """Training and test part on the device."""

    train: DevicePart
    test: DevicePart

    @classmethod
    def put(cls, dataset: Dataset, device: torch.device) -> DeviceData:
        """Copy a data set to the device."""
        return cls(train=DevicePart.put(dataset.train, device), test=DevicePart.put(dataset.test, device))


def fit(
    fabric: Fabric,
    model: nn.Module,
    data: DeviceData,
    recipe: Recipe,
    *,
    seed: int,
    label: str,
    checkpoint: Checkpoint,
    progress: Progress,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> list[EpochRecord]:
    """Train a model by a recipe, from its checkpoint if there is one.

    Args:
        fabric: Launched; decides device, precision and processes.
        model: Images (B, 1, 28, 28) -> logits (B, 10), its weights already initialised; trained in place.
        data: Where it learns and is tested.
        recipe: How it learns.
        seed: Of the order of the data and of any randomness inside the model.
        label: Name of the model in the progress shown.
        checkpoint: Where to go on from, and where to leave off.
        progress: Told of every step and epoch.
        on_epoch: Called after each new epoch.

    Returns:
        All epochs, those of the checkpoint included.

    Raises:
        TNLayersError: The batch does not fit the data, the checkpoint is not of this run, or the loss is not
            finite any more.
    """
    steps = steps_per_epoch(len(data.train.labels), recipe, processes=fabric.world_size)
    if any(weight.ndim == 4 for weight in model.parameters()):
        # oneDNN then need not reorder around each convolution: 13.4 -> 8.6 ms per step of LeNet-5 on two cores.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model, optimizer = fabric.setup(model, make_optimizer(model, recipe))
    torch.manual_seed(mixed_seed(seed, fabric.global_rank))
    history = checkpoint.restore(fabric, model, optimizer)
    progress.begin(label, epochs=recipe.epochs, done=len(history))
    loop = Loop(
        fabric=fabric,
        model=model,
        optimizer=optimizer,
        data=data,
        recipe=recipe,
        seed=seed,
        steps=steps,
        progress=progress,
    )
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        history.append(loop.epoch(epoch))
        if epoch == recipe.epochs or checkpoint.due(fabric):
            checkpoint.save(fabric, model, optimizer, history)
        on_epoch(history[-1])
        progress.epoch(history[-1])
    return history


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return SGD on every trainable; its weight decay is the gradient of 0.5 * l2 * sum(v**2)."""
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.l2,
        foreach=True,
    )


def steps_per_epoch(images: int, recipe: Recipe, *, processes: int) -> int:
    """Return the whole batches in one pass; images left over wait for another permutation.

    Raises:
        TNLayersError: Not even one batch, or less than one image per process.
    """
    if not processes <= recipe.batch <= images:
        raise TNLayersError(
            f"batch={recipe.batch} with {images} training images and {processes} process(es): a batch must have at "
            f"least one image per process and at most all images. Use --batch between {processes} and {images}."
        )
    return images // recipe.batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Loop:
    """A model, set up by Fabric, with all that its epochs need.

    Attributes:
        fabric: Device, precision and processes.
        model: Images (B, 1, 28, 28) -> logits (B, 10).
        optimizer: Of the model.
        data: Training and test part.
        recipe: Batch size and learning rates.
        seed: Of the order of the data.
        steps: Steps per epoch.
        progress: Told of every step.
    """

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    data: DeviceData
    recipe: Recipe
    seed: int
    steps: int
    progress: Progress

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
        test_loss, accuracy = self.test()
        return EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            test_loss=test_loss,
            test_accuracy=accuracy,
            lr=self.recipe.lr_at(epoch * self.steps - 1, steps_per_epoch=self.steps),
            seconds=trained - start,
            test_seconds=time.perf_counter() - trained,
        )

    def train(self, epoch: int) -> float:
        """Do the steps of one epoch and return the mean loss over its images."""
        self.model.train()
        images, labels, batch = self.data.train.images, self.data.train.labels, self.recipe.batch
        order = epoch_order(len(labels), seed=self.seed, epoch=epoch).to(labels.device)
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        total = torch.zeros((), device=labels.device)
        for step in range(self.steps):
            lr = self.recipe.lr_at((epoch - 1) * self.steps + step, steps_per_epoch=self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            mine = order[step * batch + rank : (step + 1) * batch : processes]
            # Processes may hold one image more or less, and their gradients are averaged: a sum over the images here,
            # times processes / batch, makes that average the mean over the batch.
            logits = self.model(images[mine])
            loss = functional.cross_entropy(logits, labels[mine], reduction="sum") * (processes / batch)
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            if self.recipe.clip_norm:
                self.fabric.clip_gradients(
                    self.model, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
                )
            self.optimizer.step()
            total += loss.detach()  # read once per epoch: reading each would make an accelerator wait
            self.progress.step(epoch, step + 1, self.steps)
        return float(mean_over_processes(self.fabric, total)) / self.steps

    @torch.inference_mode()
    def test(self) -> tuple[float, float]:
        """Return the mean loss and the accuracy on the whole test part, the same on every process."""
        self.model.eval()
        images, labels = self.data.test.images, self.data.test.labels
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        totals = torch.zeros(2, device=labels.device)  # loss, right answers
        for begin in range(0, len(labels), TEST_CHUNK):  # as many forward passes on every process
            logits = self.model(images[begin : begin + TEST_CHUNK][rank::processes])
            truth = labels[begin : begin + TEST_CHUNK][rank::processes]
            totals[0] += functional.cross_entropy(logits, truth, reduction="sum")
            totals[1] += (logits.argmax(1) == truth).sum()
        loss, right = mean_over_processes(self.fabric, totals).tolist()
        return loss * processes / len(labels), round(right * processes) / len(labels)


def mean_over_processes(fabric: Fabric, value: Tensor) -> Tensor:
    """Average a tensor over all processes."""
    if fabric.world_size == 1:
        return value
    reduced = fabric.all_reduce(value.clone(), reduce_op="mean")
    assert isinstance(reduced, Tensor)
    return reduced


def epoch_order(images: int, *, seed: int, epoch: int) -> Tensor:
    """Return the permutation (images,) int64 of one epoch, made on the CPU so that every device sees the same one."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    return torch.randperm(images, generator=generator)


def mixed_seed(*numbers: int) -> int:
    """Hash a few numbers into one seed, so that (seed 1, epoch 2) and (seed 2, epoch 1) have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
