"""The training loop: gradient steps on data that live on the device, whole, as tensors.

The order of the data is a function of (seed, epoch) and of nothing before it. What an example is, an image with its
label or a stretch of text with the token after each, is the data's concern (`feed.Examples`): the loss is the mean
cross-entropy of all answers. With P processes, each takes every P-th
example of every batch, and losses are weighted so that the gradient is the mean over the whole batch: one process and
several follow the same curve up to rounding. (Batch normalisation is the exception: it takes its statistics over the
examples of one process.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers.train.average import WeightAverage
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.feed import DeviceData, Examples
from tnlayers.train.history import EpochRecord
from tnlayers.train.launch import launch
from tnlayers.train.memory_format import channels_last
from tnlayers.train.processes import mean_over_processes, share_buffers
from tnlayers.train.progress import Progress
from tnlayers.train.randomness import mixed_seed
from tnlayers.train.recipe import Recipe
from tnlayers.train.state import State
from tnlayers.train.trainer import Begin, Trainer, Way

TEST_CHUNK = 1000  # answers that are tested at once


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
    begin: Begin | None = None,
) -> list[EpochRecord]:
    """Train a model by a recipe, from its checkpoint if there is one.

    Args:
        fabric: Launched; decides device, precision and processes.
        model: What a batch gives -> logits (B, classes) or (B, T, classes), its weights initialised; trained in place,
            and left with the moving averages of its weights where the recipe wants them.
        data: Where it learns and is tested.
        recipe: How it learns.
        seed: Of the order of the data and of any randomness inside the model.
        label: Name of the model in the progress shown.
        checkpoint: Where to go on from, and where to leave off.
        progress: Told of every step and epoch.
        on_epoch: Called after each new epoch.
        begin: Of the framework that trains, as `Way` has it; torch's if None.

    Returns:
        All epochs, those of the checkpoint included.

    Raises:
        TNLayersError: The batch does not fit the data, the checkpoint is not of this run, or the loss is not
            finite any more.
    """
    steps = steps_per_epoch(data.train.one_pass, recipe, processes=fabric.world_size)
    common: dict[str, Any] = {"data": data, "recipe": recipe, "seed": seed, "steps": steps, "progress": progress}
    trainer, state, finish = (begin or begin_on_torch)(fabric=fabric, model=model, **common)
    history = checkpoint.restore(state)
    progress.begin(label, epochs=recipe.epochs, done=len(history))
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        history.append(trainer.epoch(epoch))
        if epoch == recipe.epochs or checkpoint.due(fabric):
            checkpoint.save(state, history)
        on_epoch(history[-1])
        progress.epoch(history[-1])
    finish()
    return history


def begin_on_torch(
    *, fabric: Fabric, model: nn.Module, data: DeviceData, recipe: Recipe, seed: int, steps: int, progress: Progress
) -> tuple[Loop, State, Callable[[], None]]:
    """Set a model up for training; see `trainer.Begin`."""
    is_sharded = isinstance(fabric.strategy, ModelParallelStrategy)
    if not is_sharded:  # weights are shared out only if they lie in the order of their axes
        channels_last(model)
    runnable = fabric.setup_module(model)  # the weights stay those of `model`, shared out or not
    optimizer = make_optimizer(model, recipe)
    average = WeightAverage(model, recipe.average, is_sharded=is_sharded) if recipe.average else None
    torch.manual_seed(mixed_seed(seed, fabric.global_rank))
    state = State(fabric=fabric, model=model, optimizer=optimizer, average=average, is_sharded=is_sharded)
    loop = Loop(
        fabric=fabric,
        model=runnable,
        optimizer=cast(torch.optim.Optimizer, fabric.setup_optimizers(optimizer)),
        average=average,
        data=data,
        recipe=recipe,
        seed=seed,
        steps=steps,
        progress=progress,
    )
    return loop, state, lambda: None if average is None else average.put_in()


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer of all trainables, its decay on those that the recipe says.

    The decay of SGD is the gradient of 0.5 * l2 * sum(v**2), that of AdamW its own, decoupled one.
    """
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if recipe.l2_on == "matrices":
        groups = [
            {"params": [weight for weight in model.parameters() if weight.ndim >= 2]},
            {"params": [weight for weight in model.parameters() if weight.ndim < 2], "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            groups,
            lr=recipe.lr,
            betas=(recipe.momentum, recipe.beta2),
            weight_decay=recipe.weight_decay,
            foreach=True,
        )
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.l2,
        foreach=True,
    )


def steps_per_epoch(examples: int, recipe: Recipe, *, processes: int) -> int:
    """Return the recipe's steps, else the whole batches in one pass; examples left over wait for another permutation.

    Raises:
        TNLayersError: Not even one batch, or less than one example per process.
    """
    if not processes <= recipe.batch <= examples:
        raise TNLayersError(
            f"batch={recipe.batch} with {examples} training examples and {processes} process(es): a batch must have at "
            f"least one example per process and at most all. Use --batch between {processes} and {examples}."
        )
    return recipe.steps or examples // recipe.batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Loop(Trainer):
    """A model, set up by Fabric, with all that its epochs need.

    Attributes:
        fabric: Device, precision and processes.
        model: What a batch gives -> logits (B, classes) or (B, T, classes).
        optimizer: Of the model.
        average: Of the model's weights; None tests the last ones.
    """

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None

    def averages(self) -> AbstractContextManager[None]:
        """The moving averages in the place of the weights, where there are any."""
        return self.average.in_place() if self.average is not None else nullcontext()

    def train(self, epoch: int) -> float:
        """Do the steps of one epoch and return the mean loss over its images."""
        self.model.train()
        part, batch = self.data.train, self.recipe.batch
        order = part.order(self.steps * batch, seed=self.seed, epoch=epoch)
        draws = part.draws(seed=self.seed, epoch=epoch) if self.recipe.augment else None
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        total = torch.zeros((), device=part.device)
        for step in range(self.steps):
            done = (epoch - 1) * self.steps + step
            lr = self.recipe.lr_at(done, steps_per_epoch=self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            mine = order[step * batch + rank : (step + 1) * batch : processes]
            # Processes may hold one example more or less, and their gradients are averaged: a sum over the answers
            # here, times processes / those of the batch, makes that average the mean over the batch.
            logits = self.model(part.batch(mine, draws))
            loss = total_loss(logits, part.answers(mine), self.recipe.label_smoothing)
            loss = loss * (processes / (batch * part.per_example))
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            if self.recipe.clip_norm:
                self.fabric.clip_gradients(
                    self.model, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
                )
            self.optimizer.step()
            if self.average is not None:
                self.average.update(done + 1)
            total += loss.detach()  # read once per epoch: reading each would make an accelerator wait
            self.progress.step(epoch, step + 1, self.steps)
        share_buffers(self.fabric, self.model)
        return float(mean_over_processes(self.fabric, total)) / self.steps

    @torch.inference_mode()
    def test(self, part: Examples) -> tuple[float, float]:
        """Return the mean loss and the accuracy on a whole part, the same on every process."""
        self.model.eval()
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        # Loss and right answers; in double precision, as a text has more answers than single precision counts.
        totals = torch.zeros(2, device=part.device, dtype=torch.float32 if part.device.type == "mps" else torch.float64)
        everything = torch.arange(len(part), device=part.device)
        chunk = max(processes, TEST_CHUNK // part.per_example)
        for start in range(0, len(part), chunk):  # as many forward passes on every process
            mine = everything[start : start + chunk][rank::processes]
            given, answers = part.batch(mine), part.answers(mine)
            logits = self.model(given)
            if self.recipe.flip_test:
                logits = (logits + self.model(given.flip(3))) / 2
            totals[0] += total_loss(logits, answers)
            totals[1] += (logits.argmax(-1) == answers).sum()
        loss, right = mean_over_processes(self.fabric, totals).tolist()
        return loss * processes / part.count, round(right * processes) / part.count


def total_loss(logits: Tensor, answers: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of all answers together, in nats; those of -100 count for nothing.

    Args:
        logits: (B, classes) or (B, T, classes).
        answers: (B,) or (B, T) int64.
        label_smoothing: Share of each answer that is spread evenly over all classes.
    """
    return functional.cross_entropy(
        logits.flatten(0, -2), answers.flatten(), reduction="sum", label_smoothing=label_smoothing
    )


WAY = Way(ready=nullcontext, launch=launch, begin=begin_on_torch, environment=dict)
