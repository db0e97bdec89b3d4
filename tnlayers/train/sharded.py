"""Weights shared out over processes, torch's `fully_shard`: sharing them out, and whole tensors in and out of it.

The one file that knows of it, imported where a run asks for it ("fsdp"): torch has it under this name from 2.6 on, and
not in every build. Every process must take part in each of these; process 0 needs the memory for whole tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError

try:
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )
    from torch.distributed.fsdp import FSDPModule, fully_shard
    from torch.distributed.tensor import DTensor
except ImportError as error:
    raise TNLayersError(
        f"strategy='fsdp' needs torch 2.6 or newer, built with torch.distributed; this is {torch.__version__}: "
        f"{error}. Use --strategy ddp."
    ) from error

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
TO_SHARDS = StateDictOptions(full_state_dict=True)


def shard(model: nn.Module, mesh: object) -> nn.Module:
    """Share the weights of a model out over all processes.

    Args:
        model: To be sharded in place.
        mesh: Fabric's, machines by devices; not used, as the weights go over all processes alike.
    """
    fully_shard(model)
    return model


def local(weight: Tensor) -> Tensor:
    """Return this process's part of a weight, apart from its gradient."""
    assert isinstance(weight, DTensor)
    return weight.to_local().detach()


def reshard(model: nn.Module) -> None:
    """Drop the whole weights that a forward pass left in place; they are those from before a change of the parts."""
    assert isinstance(model, FSDPModule)
    model.reshard()


def whole_weights(model: nn.Module) -> dict[str, Any]:
    """Return weights and statistics by name, on process 0; elsewhere nothing."""
    return get_model_state_dict(model, options=WHOLE)


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Put whole weights, which each process has, into the parts."""
    set_model_state_dict(model, dict(weights), options=TO_SHARDS)


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state by the names of weights, on process 0; elsewhere nothing."""
    return get_optimizer_state_dict(model, optimizer, options=WHOLE)


def load_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a whole state, which each process has, into the parts."""
    set_optimizer_state_dict(model, optimizer, state, options=TO_SHARDS)
