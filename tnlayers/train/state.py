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
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from tnlayers.train.average import WeightAverage

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
TO_SHARDS = StateDictOptions(full_state_dict=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class State:
    """What training changes.

    Attributes:
        fabric: Launched.
        model: As it was built; Fabric's wrapper holds the same weights.
        optimizer: Of its weights, without Fabric's wrapper.
        average: Of the model's weights, if they are averaged.
    """

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None = None

    @property
    def sharded(self) -> bool:
        """Whether the weights are shared out over processes."""
        return is_sharded(self.model)

    def gather(self) -> dict[str, Any]:
        """Return model, optimizer, averages and random states, to be written by process 0."""
        state = {
            "model": whole_weights(self.model),
            "optimizer": self._optimizer(),
            "random": random_states(self.fabric),
        }
        if self.average is not None:
            with self.average.in_place():
                weights = {name for name, _ in self.model.named_parameters()}
                state["average"] = {
                    # A clone, as the weights are put back into these tensors at the end of the block.
                    name: tensor.clone()
                    for name, tensor in whole_weights(self.model).items()
                    if name in weights
                }
        return state

    def scatter(self, state: Mapping[str, Any]) -> None:
        """Put what `gather` returned back."""
        if self.average is not None:
            self._load_model({**state["model"], **state["average"]})
            self.average.take_over()
        self._load_model(state["model"])
        if self.sharded:
            set_optimizer_state_dict(self.model, self.optimizer, state["optimizer"], options=TO_SHARDS)
        else:
            self.optimizer.load_state_dict(state["optimizer"])
        set_random_state(self.fabric, state["random"])

    def _load_model(self, weights: Mapping[str, Tensor]) -> None:
        if self.sharded:
            set_model_state_dict(self.model, dict(weights), options=TO_SHARDS)
        else:
            self.model.load_state_dict(weights)

    def _optimizer(self) -> dict[str, Any]:
        if self.sharded:
            return get_optimizer_state_dict(self.model, self.optimizer, options=WHOLE)
        return self.optimizer.state_dict()


def is_sharded(model: nn.Module) -> bool:
    """Return whether the weights of a model are shared out over processes."""
    return isinstance(model, FSDPModule)  # its weights tell only sometimes: whole ones are in their place at a forward


def whole_weights(model: nn.Module) -> dict[str, Any]:
    """Return weights and statistics by name; of a sharded model every process must ask, and process 0 gets them."""
    return get_model_state_dict(model, options=WHOLE) if is_sharded(model) else model.state_dict()


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
