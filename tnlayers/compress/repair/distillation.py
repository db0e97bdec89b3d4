"""The second stage of repair: all parameters together, by distillation from the original; the best state is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeAlias

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from torch.optim.lr_scheduler import LRScheduler

from tnlayers.compress.repair.batches import called, examples
from tnlayers.errors import TNLayersError

Loss: TypeAlias = 'Literal["kl", "mse"] | Callable[[Tensor, Tensor], Tensor]'
Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pupil:
    """A model beside its teacher, as both are run.

    Attributes:
        model: The model as Fabric runs it.
        teacher: The original, in evaluation.
        distance: Of (outputs, teacher's outputs).
        fabric: Decides device and precision.
        step: Called after each batch.
    """

    model: nn.Module
    teacher: nn.Module
    distance: Distance
    fabric: Fabric
    step: Callable[..., None]

    def distilled(
        self, loader: Iterable[Any], epochs: int, optimizer: torch.optim.Optimizer, schedule: LRScheduler, best: Best
    ) -> Iterator[float]:
        """The distance from the teacher after each epoch."""
        for epoch in range(1, epochs + 1):
            self.model.train()
            for batch in loader:
                with torch.no_grad():
                    wanted = called(self.teacher, batch, self.fabric)
                optimizer.zero_grad()
                self.fabric.backward(self.distance(called(self.model, batch, self.fabric), wanted))
                optimizer.step()
                self.step()
            schedule.step()
            found = best.offer(f"epoch {epoch}")
            self.step(f"repair: epoch {epoch}/{epochs}, {found:.4g} (best {best.distance:.4g})", done=0)
            yield found

    @torch.no_grad()
    def measured(self, batches: Iterable[Any]) -> float:
        """The mean distance over the examples of all batches; infinite where it is no number any more."""
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            count = examples(batch)
            outputs, wanted = (called(one, batch, self.fabric) for one in (self.model, self.teacher))
            sums += torch.tensor([float(self.distance(outputs, wanted)) * count, count], dtype=torch.float64)
            self.step()
        total, count = self.fabric.all_reduce(sums, reduce_op="sum").tolist()  # type: ignore[union-attr]
        if count == 0:
            raise TNLayersError("The loader gave no batches: give a list of batches or a DataLoader, not an iterator.")
        return total / count if isfinite(total) else float("inf")


def distance_of(loss: Loss, temperature: float) -> Distance:
    """What is minimised, of (outputs, teacher's outputs)."""
    if callable(loss):
        return loss
    if loss == "mse":
        return _mean_square
    if loss != "kl":
        raise TNLayersError(f"loss={loss!r}: there are 'kl' and 'mse', or give a function of (outputs, teacher's).")

    def softened(outputs: Tensor, wanted: Tensor) -> Tensor:
        precise = torch.promote_types(outputs.dtype, torch.float32)
        own, others = (log_softmax(one.to(precise) / temperature, -1) for one in (outputs, wanted))
        flat = own.reshape(-1, own.shape[-1]), others.reshape(-1, own.shape[-1])
        distance: Tensor = kl_div(*flat, reduction="batchmean", log_target=True) * temperature**2
        return distance.clamp(min=0)  # rounding

    return softened


def _mean_square(outputs: Tensor, wanted: Tensor) -> Tensor:
    wrong = outputs - wanted
    return (wrong * wrong.conj()).real.mean()
