"""What a run costs: measured where it was run, and labelled estimates elsewhere.

On one GPU, a guess from counts, as none was at hand:

    seconds per step = 3 x forward flops x batch / rate + modules x overhead + 1 ms

3 stands for forward and backward, the rate is 20 Tflop/s (a few per cent of a data-centre GPU's bfloat16 peak, as
small maps and few channels leave it), the overhead of 60 microseconds per module is launching its kernels forward,
backward and in the optimizer, and the millisecond is the batch, the loss and the rest. It may be off by a factor of two
or three either way.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from tnlayers.reproduce.paper import Row
from tnlayers.reproduce.store import Run, of

IMAGES = {"mnist": 60_000, "cifar10": 50_000}
EPOCHS = {"mnist": 500, "cifar10": 325}  # of the paper
BATCH = 100
SEEDS = 5
GPU_RATE = 20e12
GPU_OVERHEAD = 60e-6
GPU_STEP = 1e-3
CPU_RATE = 60e9  # flops a second of a training step in float32 on two cores, where nothing of the kind was measured


def gpu_hours(row: Row, counts: Mapping[str, Any]) -> float:
    """The estimate above for one full run of the paper's recipe.

    Args:
        row: Says model and data.
        counts: Its entry of the structure: "flops" and "modules".

    Example:
        >>> row = Row(part="table1", model="vgg16", network="dense", data="cifar10", accuracy=None)
        >>> round(gpu_hours(row, {"flops": 513_228_800, "modules": 52}), 2)
        0.53
    """
    step: float = 3 * counts["flops"] * BATCH / GPU_RATE + counts["modules"] * GPU_OVERHEAD + GPU_STEP
    return step * IMAGES[row.data] / BATCH * EPOCHS[row.data] / 3600


def seconds_per_epoch(row: Row, counts: Mapping[str, Any], runs: Iterable[Run]) -> tuple[float, str]:
    """What an epoch takes on this kind of machine.

    Returns:
        Seconds, and where they are from: the median of stored runs of the row, or a guess from its flops.
    """
    measured = [
        run["median_seconds_per_epoch"] for group in of(runs, row.model, row.network, row.data) for run in group
    ]
    if measured:
        return statistics.median(measured), "measured"
    return 3 * counts["flops"] * IMAGES[row.data] / CPU_RATE, f"guess: {CPU_RATE / 1e9:g} Gflop/s"
