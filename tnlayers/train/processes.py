"""What several processes of one run do together."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tnlayers.errors import TNLayersError, shortened
from tnlayers.files import stopping


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
    text = str(error)
    return any(words in text for words in ("Connection closed by peer", "Connection reset", "Broken pipe", "gloo/"))


def lost_others(fabric: Fabric, error: RuntimeError) -> TNLayersError:
    """The refusal of a process whose group is gone; torchrun's report has it too."""
    reason = str(error).partition("] ")[2] if str(error).startswith("[") else str(error)  # without gloo's line of C++
    first = " ".join(reason.partition(". ")[0].split())
    refusal = TNLayersError(
        f"Process {fabric.global_rank} of {fabric.world_size} lost the others: one of them was stopped, killed, or ran "
        f"out of memory ({shortened(first, 200)}). What was written before is whole: the same command with --resume "
        "continues from the last checkpoint."
    )
    _write_torchrun_error(str(refusal))
    return refusal


def _write_torchrun_error(text: str) -> None:
    """Put a text where torchrun looks for the words of a failed process; else it reports a number alone."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        more = {"py_callstack": text, "timestamp": str(int(time.time()))}
        with suppress(OSError):
            Path(file).write_text(json.dumps({"message": {"message": text, "extraInfo": more}}), encoding="utf-8")


def first_process(fabric: Fabric) -> int | None:
    """The id of process 0, as far as this one is on the same machine."""
    pid: int = fabric.broadcast(os.getpid()) if fabric.world_size > 1 else os.getpid()
    return pid if fabric.node_rank == 0 else None


def speak_for(fabric: Fabric, first: int | None) -> None:
    """Let this process say how to go on after a signal, where process 0 cannot any more: it was killed."""
    if fabric.local_rank == 0 or first is None:
        return
    try:
        os.kill(first, 0)
    except OSError:
        stopping.announce(
            f"Process {fabric.global_rank} of {fabric.world_size} was stopped, as process 0 is gone: it was killed, or "
            "ran out of memory. What was written before is whole: the same command with --resume continues from the "
            "last checkpoint.",
            by_all=True,
        )


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
