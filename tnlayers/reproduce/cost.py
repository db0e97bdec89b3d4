"""What a run costs: measured where it was run, and labelled estimates elsewhere.

On one GPU, a guess from counts, for a batch of the recipe:

    seconds per step = 3 x forward flops x batch / rate + modules x overhead + 1 ms

3 stands for forward and backward, the rate is 20 Tflop/s (a quarter of what cifar10-airbench measures for a standard
ResNet-18 on an A100, 32.3 Pflop in 7 minutes, as smaller batches and narrower layers leave it), the overhead of 60
microseconds per module is launching its kernels forward, backward and in the optimizer, and the millisecond is the
batch, the loss and the rest. It may be off by a factor of two or three either way; where runs on an accelerator are
stored, their measured times correct it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from tnlayers.reproduce.paper import Row
from tnlayers.reproduce.recipe_text import Run, accelerated
from tnlayers.reproduce.store import of, same

IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000}
EPOCHS = {"mnist": 500, "cifar10": 325}  # of the paper
BATCH = 100
SEEDS = 5
GPU_RATE = 20e12
GPU_OVERHEAD = 60e-6
GPU_STEP = 1e-3
# Flops a second of training on two cores where nothing of the kind was measured, by precision; others as the first.
CPU_RATES = {"32-true": 60e9, "bf16-mixed": 300e9}


def gpu_step(counts: Mapping[str, Any], batch: int) -> float:
    """The estimate above: seconds of a training step.

    Args:
        counts: The network's entry of the structure: "flops" and "modules".
        batch: Images.
    """
    step: float = 3 * counts["flops"] * batch / GPU_RATE + counts["modules"] * GPU_OVERHEAD + GPU_STEP
    return step


def gpu_ratio(run: Run, counts: Mapping[str, Any]) -> float:
    """The measured time of a run's epochs over the estimated one, at the run's own batch.

    Args:
        run: On an accelerator.
        counts: Its network's entry of the structure.
    """
    recipe = run["recipe"]
    steps: int = (IMAGES[run["data"]] - recipe["validation"]) // recipe["batch"]
    measured: float = run["median_seconds_per_epoch"]
    return measured / (steps * gpu_step(counts, recipe["batch"]))


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
    return hours(row, gpu_step(counts, BATCH))


def hours(row: Row, step: float) -> float:
    """What one full run of the paper's recipe takes.

    Args:
        row: Says the data.
        step: Seconds of a step of the recipe's batch.
    """
    return step * IMAGES[row.data] / BATCH * EPOCHS[row.data] / 3600


def seconds_per_epoch(
    row: Row,
    structure: Mapping[str, Mapping[str, Mapping[str, Any]]],
    runs: Iterable[Run],
    precision: str,
    *,
    accelerator: bool = False,
) -> tuple[float, str]:
    """What an epoch takes on this kind of machine.

    Args:
        row: What is to be trained.
        structure: Counts by model and network.
        runs: The stored runs; those of another precision say nothing.
        precision: Of the training.
        accelerator: Whether it is on one: runs of the other kind say nothing either.

    Returns:
        Seconds, and where they are from: the median of stored runs of the row; else its flops, at the median rate of
        stored runs on the same data; else a guess of the rate.
    """
    alike = [
        run
        for run in runs
        if run["recipe"].get("precision", "32-true") == precision and accelerated(run) == accelerator
    ]
    measured = [
        run["median_seconds_per_epoch"] for group in of(alike, row.model, row.network, row.data) for run in group
    ]
    if measured:
        return statistics.median(measured), "measured"
    rates = [
        _flops(run["data"], counts) / run["median_seconds_per_epoch"]
        for run in alike
        if run["data"] == row.data and (counts := structure.get(run["model"], {}).get(same(run))) is not None
    ]
    rate = statistics.median(rates) if rates else CPU_RATES.get(precision, CPU_RATES["32-true"])
    source = f"{rate / 1e9:.0f} Gflop/s, {'of others' if rates else 'a guess'}"
    return _flops(row.data, structure[row.model][row.network]) / rate, source


def _flops(data: str, counts: Mapping[str, Any]) -> float:
    flops: float = 3.0 * counts["flops"] * IMAGES[data]
    return flops
