"""The processor time of a training step here: one thread, a batch of 100 in 32 bits, as the paper's recipe takes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tnlayers import models
from tnlayers.train.environment import device_name
from tnlayers.train.memory_format import channels_last

BATCH = 100
LEAST, MOST, SECONDS = 3, 30, 15.0


def time_step(model: str, network: str) -> dict[str, Any]:
    """Time forward, backward and a step of SGD with momentum on random images.

    Processor time, which other work on the machine lengthens by less than it does the time on the clock.

    Args:
        model: Name in `tnl.models`.
        network: As `tnlayers train` takes it.

    Returns:
        "seconds": the median over "steps" steps after two that warm up; and the "device".

    Raises:
        TNLayersError: If the model or the network is unknown.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = _times(model, network)
    finally:
        torch.set_num_threads(threads)
    device = device_name(torch.device("cpu"))
    return {"seconds": float(f"{statistics.median(times):.3g}"), "steps": len(times), "device": device}


def _times(model: str, network: str) -> list[float]:
    entry = models.find(model)
    built = channels_last(models.build(model, network=network, seed=0)).train()  # as in training
    optimizer = torch.optim.SGD(built.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images, labels = torch.rand(BATCH, *entry.image), torch.arange(BATCH) % 10
    times: list[float] = []
    begin = time.process_time()
    while len(times) < 2 + LEAST or (len(times) < 2 + MOST and time.process_time() - begin < SECONDS):
        start = time.process_time()
        optimizer.zero_grad()
        cross_entropy(built(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        times.append(time.process_time() - start)
    return times[2:]
