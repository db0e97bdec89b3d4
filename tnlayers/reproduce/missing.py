"""The section of the page on what was not run: how many runs, and what they would cost."""

from __future__ import annotations

from collections.abc import Sequence

from tnlayers.reproduce.cells import Structure, seconds
from tnlayers.reproduce.cost import EPOCHS, SEEDS, gpu_hours, hours
from tnlayers.reproduce.paper import ROWS, Row
from tnlayers.reproduce.store import of
from tnlayers.reproduce.told import SELECTION, Run, told

_BEGIN = """## What was not run, and what it would cost

Runs that are missing for {seeds} seeds of the paper's recipe to its end. **Measured** is the time of a step
(forward, backward and SGD on 100 images in 32 bits, processor time of one thread of {device}, the median of
several), and from it, by multiplication, the hours of a run on one core here. **Estimated, not measured,** is the
time on one GPU, since none was at hand:

    seconds per step = 3 x forward flops x 100 images / 20 Tflop/s + modules x 60 microseconds + 1 ms
    hours per run    = steps per epoch x epochs x seconds per step / 3600

Flops are counted (the table of the structure above), 3 stands for forward and backward. Steps per epoch are 600 on
MNIST and 500 on CIFAR-10, epochs 500 and 325. The rate is an assumption with this source: the README of
github.com/KellerJordan/cifar10-airbench measures a standard training of ResNet-18 on CIFAR-10 at 32.3 Pflop in 7
minutes of one NVIDIA A100, 77 Tflop/s, and a tuned one at 0.36 Pflop in 3.8 seconds, 94 Tflop/s, both in half
precision and large batches; a quarter of that is taken here for batches of 100 and narrower layers. 60 microseconds
is a guess at launching a module's kernels forward, backward and in the optimizer, 1 ms at the batch, the loss and
the rest. The sum may be off by a factor of two or three either way; one measured epoch on the GPU at hand replaces
it.
"""


def missing(row: Row, runs: Sequence[Run]) -> int:
    """How many of the paper's five runs of a row were not made, by its recipe and to its end."""
    groups = of(runs, row.model, row.network, row.data)
    plain = [run for group in groups if told(group[0]) in ("paper", f"paper, {SELECTION}") for run in group]
    return max(0, SEEDS - len(plain))


def not_run(runs: Sequence[Run], structure: Structure, steps: Structure) -> str:
    """The section: a line per row of the paper that lacks runs, and the sums."""
    devices = dict.fromkeys(step["device"] for networks in steps.values() for step in networks.values())
    lines = [
        _BEGIN.format(seeds=SEEDS, device="; ".join(devices) or "this machine"),
        "| model | network | epochs | runs missing | a step here | hours a run here | estimate: GPU hours a run "
        "| GPU hours, all of them |",
        f"|{' --- |' * 8}",
    ]
    total = 0.0
    for row in ROWS:
        if count := missing(row, runs):
            gpu = gpu_hours(row, structure[row.model][row.network])
            total += count * gpu
            step = steps.get(row.model, {}).get(row.network)
            here = f"{seconds(step['seconds'])} | {hours(row, step['seconds']):,.1f}" if step else " | "
            lines.append(
                f"| {row.model} | `{row.network}` | {EPOCHS[row.data]} | {count} | {here} | {gpu:.2f} | "
                f"{count * gpu:.1f} |"
            )
    lines.append(f"| **all** | | | | | | | **{total:,.0f}** |")
    return "\n".join([*lines, ""])
