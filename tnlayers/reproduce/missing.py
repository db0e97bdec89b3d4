"""The section of the page on what was not run: how many runs, and what they would cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from tnlayers.reproduce.cells import Structure, seconds
from tnlayers.reproduce.cost import EPOCHS, SEEDS, gpu_hours, gpu_ratio, hours
from tnlayers.reproduce.paper import ROWS, Row
from tnlayers.reproduce.recipe_text import Run, accelerated, in_full
from tnlayers.reproduce.store import of, same

_BEGIN = """## What was not run, and what it would cost

Runs that are missing for {seeds} seeds of the paper's recipe to its end, with the paper's selection or without.
**Measured** is the time of a step (forward, backward and SGD on 100 images in 32 bits, processor time of one thread of
{device}, the median of several), and from it, by multiplication, the hours of a
run on one core here. **Estimated** are the hours on one GPU:

    seconds per step = 3 x forward flops x 100 images / 20 Tflop/s + modules x 60 microseconds + 1 ms
    hours per run    = steps per epoch x epochs x seconds per step / 3600

Flops are counted (the table of the structure above), 3 stands for forward and backward. Steps per epoch are 600 on
MNIST and 500 on CIFAR-10 where nothing is held out, epochs 500 and 325. The rate is an assumption with this source:
the README of github.com/KellerJordan/cifar10-airbench measures a standard training of ResNet-18 on CIFAR-10 at 32.3
Pflop in 7 minutes of one NVIDIA A100, 77 Tflop/s, and a tuned one at 0.36 Pflop in 3.8 seconds, 94 Tflop/s, both in
half precision and large batches; a quarter of that is taken here for batches of 100 and narrower layers. 60
microseconds is a guess at launching a module's kernels forward, backward and in the optimizer, 1 ms at the batch, the
loss and the rest. The sum may be off by a factor of two or three either way.
"""

_UNMEASURED = "No run on a GPU is stored here: the hours are the estimate as it stands, nothing of them is measured.\n"

_CORRECTED = """**Corrected by measurement:** {runs} runs on {device} are stored (their rows are in the tables
above). The times of their epochs, by their own recipes' batches and precisions, are {ratios} times what the estimate
says for them. Hours of a network that ran there are the estimate times its own ratio ("measured rate" in the last
column), all others the estimate times the median ratio, {median}. They remain estimates: other batches and precisions
than the paper's were measured.
"""

Ratios = Mapping[tuple[str, str], float]


def missing(row: Row, runs: Sequence[Run]) -> int:
    """How many of the paper's five runs of a row were not made, by its recipe and to its end."""
    groups = of(runs, row.model, row.network, row.data)
    plain = [run for group in groups if in_full(group[0]) for run in group]
    return max(0, SEEDS - len({run["seed"] for run in plain}))


def not_run(runs: Sequence[Run], structure: Structure, steps: Structure) -> str:
    """The section: a line per row of the paper that lacks runs, and the sums."""
    devices = dict.fromkeys(step["device"] for networks in steps.values() for step in networks.values())
    ratios = measured_ratios(runs, structure)
    lines = [
        _BEGIN.format(seeds=SEEDS, device="; ".join(devices) or "this machine"),
        _correction(runs, ratios),
        "| model | network | epochs | runs missing | a step here | hours a run here | estimate: GPU hours a run "
        "| GPU hours, all of them | from |",
        f"|{' --- |' * 9}",
    ]
    total = 0.0
    for row in ROWS:
        if count := missing(row, runs):
            gpu, source = _gpu(row, structure, ratios)
            total += count * gpu
            step = steps.get(row.model, {}).get(row.network)
            here = f"{seconds(step['seconds'])} | {hours(row, step['seconds']):,.1f}" if step else " | "
            lines.append(
                f"| {row.model} | `{row.network}` | {EPOCHS[row.data]} | {count} | {here} | {gpu:.2f} | "
                f"{count * gpu:.1f} | {source} |"
            )
    lines.append(f"| **all** | | | | | | | **{total:,.0f}** | |")
    return "\n".join([*lines, ""])


def measured_ratios(runs: Sequence[Run], structure: Structure) -> Ratios:
    """Measured over estimated time by model and network, the median over runs on accelerators."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in filter(accelerated, runs):
        if counts := structure.get(run["model"], {}).get(same(run)):
            found.setdefault((run["model"], same(run)), []).append(gpu_ratio(run, counts))
    return {key: statistics.median(values) for key, values in found.items()}


def _gpu(row: Row, structure: Structure, ratios: Ratios) -> tuple[float, str]:
    """Hours of one run on a GPU, and where they are from."""
    estimate = gpu_hours(row, structure[row.model][row.network])
    if not ratios:
        return estimate, "estimate"
    if own := ratios.get((row.model, row.network)):
        return estimate * own, "measured rate"
    return estimate * statistics.median(ratios.values()), "estimate, corrected"


def _correction(runs: Sequence[Run], ratios: Ratios) -> str:
    if not ratios:
        return _UNMEASURED
    there = [run for run in runs if accelerated(run)]
    return _CORRECTED.format(
        runs=len(there),
        device=" and ".join(dict.fromkeys(run["device"] for run in there)),
        ratios=f"{min(ratios.values()):.2f} to {max(ratios.values()):.2f}",
        median=f"{statistics.median(ratios.values()):.2f}",
    )
