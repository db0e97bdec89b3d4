"""The second stage of repair: all parameters together, by distillation from the original; the best state is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeAlias, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss

from tnlayers.errors import TNLayersError

Loss: TypeAlias = 'Literal["kl", "mse"] | Callable[[Tensor, Tensor], Tensor]'


@dataclass(eq=False)
class Best:
    """The best state of a model so far, by its distance from the teacher."""

    model: nn.Module
    measure: Callable[[], float]
    kept: str = "as it began"
    distance: float = field(init=False)
    state: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.distance, self.state = self.measure(), deepcopy(self.model.state_dict())

    def offer(self, name: str) -> float:
        """Measure the model as it is now, and remember it if it is the best."""
        found = self.measure()
        if found < self.distance:
            self.kept, self.distance, self.state = name, found, deepcopy(self.model.state_dict())
        return found


def distilled(
    model: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    distance: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    lr: float,
    fabric: Fabric,
    best: Best,
    progress: bool,
) -> Iterator[float]:
    """The distance from the teacher after each epoch."""
    if not epochs:
        return
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    runnable, stepping = cast("tuple[nn.Module, torch.optim.Optimizer]", fabric.setup(model, optimizer))
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in loader:
            x = inputs_of(batch, fabric)
            with torch.no_grad():
                wanted = teacher(x)
            stepping.zero_grad()
            fabric.backward(distance(runnable(x), wanted))
            stepping.step()
        schedule.step()
        found = best.offer(f"epoch {epoch}")
        tell(progress, f"repair: epoch {epoch}/{epochs}, {found:.4g} (best {best.distance:.4g})")
        yield found


@torch.no_grad()
def measured(
    model: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Any],
    distance: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
) -> float:
    """The mean distance over the vectors of all batches; infinite where it is no number any more."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        x = inputs_of(batch, fabric)
        total += float(distance(model(x), teacher(x))) * len(x)
        count += len(x)
    if count == 0:
        raise TNLayersError("The loader gave no batches: give a list of batches or a DataLoader, not an iterator.")
    return total / count if isfinite(total) else float("inf")


def distance_of(loss: Loss, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """What is minimised, of (outputs, teacher's outputs)."""
    if callable(loss):
        return loss
    if loss == "mse":
        return mse_loss
    if loss != "kl":
        raise TNLayersError(f"loss={loss!r}: there are 'kl' and 'mse', or give a function of (outputs, teacher's).")

    def softened(outputs: Tensor, wanted: Tensor) -> Tensor:
        own, others = (log_softmax(one / temperature, -1) for one in (outputs, wanted))
        flat = own.reshape(-1, own.shape[-1]), others.reshape(-1, own.shape[-1])
        return kl_div(*flat, reduction="batchmean", log_target=True) * temperature**2

    return softened


def inputs_of(batch: Any, fabric: Fabric) -> Tensor:
    """The inputs of a batch, with or without labels behind them, on the device."""
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    return cast("Tensor", fabric.to_device(x))


def tell(progress: bool, words: str) -> None:
    """Write a line of progress to the error stream."""
    if progress:
        print(words, file=sys.stderr, flush=True)
