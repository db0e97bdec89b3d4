"""The state of a model in training as whole tensors, wherever its parts lie, and back.

Where weights are shared out over processes ("fsdp"), every process must take part in both directions, and the tensors
are gathered in the memory of process 0. The optimizer's state then goes by the names of weights, else by their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tnlayers.train.average import WeightAverage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class State:
    """What training changes.

    Attributes:
        fabric: Launched.
        model: As it was built; Fabric's wrapper holds the same weights.
        optimizer: Of its weights, without Fabric's wrapper.
        average: Of the model's weights, if they are averaged.
        is_sharded: Whether the weights are shared out over processes.
    """

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None = None
    is_sharded: bool = False

    def gather(self) -> dict[str, Any]:
        """Return model, optimizer, averages and random states, to be written by process 0."""
        state = {
            "model": self._model(),
            "optimizer": self._optimizer(),
            "random": random_states(self.fabric),
        }
        if self.average is not None:
            with self.average.in_place():
                weights = {name for name, _ in self.model.named_parameters()}
                state["average"] = {
                    # A clone, as the weights are put back into these tensors at the end of the block.
                    name: tensor.clone()
                    for name, tensor in self._model().items()
                    if name in weights
                }
        return state

    def scatter(self, state: Mapping[str, Any]) -> None:
        """Put what `gather` returned back."""
        if self.average is not None:
            self._load_model({**state["model"], **state["average"]})
            self.average.take_over()
        self._load_model(state["model"])
        self._load_optimizer(state["optimizer"])
        set_random_state(self.fabric, state["random"])

    def _model(self) -> dict[str, Tensor]:
        if self.is_sharded:
            from tnlayers.train import sharded

            return sharded.whole_weights(self.model)
        return self.model.state_dict()

    def _load_model(self, weights: Mapping[str, Tensor]) -> None:
        if self.is_sharded:
            from tnlayers.train import sharded

            sharded.load_weights(self.model, weights)
        else:
            self.model.load_state_dict(weights)

    def _optimizer(self) -> dict[str, Any]:
        if self.is_sharded:
            from tnlayers.train import sharded

            return sharded.optimizer_state(self.model, self.optimizer)
        return self.optimizer.state_dict()

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        if self.is_sharded:
            from tnlayers.train import sharded

            sharded.load_optimizer_state(self.model, self.optimizer, state)
        else:
            self.optimizer.load_state_dict(state)


def random_states(fabric: Fabric) -> dict[str, Tensor]:
    """Gather torch's random states of all processes: {"cpu": (processes, bytes)} and "cuda" alike if it is in use."""
    states = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(fabric.device)
    everyones = [states] * fabric.world_size
    if fabric.world_size > 1:  # fabric.all_gather goes by a function that torch 2.13 warns of as deprecated
        torch.distributed.all_gather_object(everyones, states)
    return {kind: torch.stack([one[kind].cpu() for one in everyones]) for kind in states}


def set_random_state(fabric: Fabric, states: Mapping[str, Tensor]) -> None:
    """Give this process its row of what `random_states` gathered."""
    torch.set_rng_state(states["cpu"][fabric.global_rank].clone())
    if fabric.device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][fabric.global_rank].clone(), fabric.device)
