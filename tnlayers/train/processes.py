"""What several processes of one run do together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tnlayers.errors import TNLayersError


def on_main_process(fabric: Fabric, action: Callable[[], None]) -> None:
    """Do something on process 0 alone; if it refuses, every process raises, so that none waits for ever."""
    message = ""
    if fabric.is_global_zero:
        try:
            action()
        except TNLayersError as error:
            message = str(error)
    if fabric.world_size > 1:
        message = fabric.broadcast(message)
    if message:
        raise TNLayersError(message)


def lost_connection(error: RuntimeError) -> bool:
    """Whether an error of torch says that another process of the group is gone."""
    if type(error).__name__.startswith("Dist"):  # DistBackendError, DistNetworkError, ...
        return True
    told = str(error)
    return any(words in told for words in ("Connection closed by peer", "Connection reset", "Broken pipe", "gloo/"))


def share_buffers(fabric: Fabric, model: nn.Module) -> None:
    """Give every process the running statistics of process 0, which are those that are stored.

    DDP does so before each forward pass; where weights are shared out each process would keep, test with and go on
    from its own.
    """
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def mean_over_processes(fabric: Fabric, value: Tensor) -> Tensor:
    """Average a tensor over all processes."""
    if fabric.world_size == 1:
        return value
    reduced = fabric.all_reduce(value.clone(), reduce_op="mean")
    assert isinstance(reduced, Tensor)
    return reduced
