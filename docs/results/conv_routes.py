"""Time the routes of convolutions beside their rebuilt kernels: `taskset -c 0 python docs/results/conv_routes.py`.

For each cell the best route and the rebuilt kernel run one call each per round, in an order drawn anew, on one thread:
without gradients, or forward and backward. Ratios are of paired rounds. Writes `conv_routes.json` and the table of
docs/layers.md; `--show` writes the table from the stored figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from marks import filled

import tnlayers as tnl
from tnlayers.files.origin import command, commit, cpu_name
from tnlayers.planning.conv_choice import plan_convolution
from tnlayers.planning.conv_plan import ConvPlan
from tnlayers.pricing.counts import Cost

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).resolve().parents[1] / "layers.md"
NEVER = Cost(flops=10**18, bytes=10**18, copied=0, kept=0, result=0)  # a rebuilt kernel that no search would take
CELLS = [  # channels in and out, network, batch, size of the input, mode
    (64, 64, "lowrank(rank=8)", 8, 32, "forward"),
    (64, 64, "lowrank(rank=8)", 8, 32, "training"),
    (256, 256, "lowrank(rank=16)", 8, 14, "forward"),
    (256, 256, "lowrank(rank=128)", 8, 14, "forward"),
    (128, 128, "tucker(cores=1, bond=16)", 8, 28, "forward"),
    (128, 128, "tucker(cores=1, bond=16)", 8, 28, "training"),
    (128, 128, "tucker(cores=1, bond=64)", 8, 28, "forward"),
    (128, 128, "cp(cores=1, rank=32)", 8, 28, "forward"),
    (64, 64, "lowrank(rank=64)", 1, 8, "forward"),
    (64, 64, "mpo(cores=2, bond=2)", 8, 14, "forward"),
    (64, 64, "mpo(cores=2, bond=2)", 8, 14, "training"),
    (256, 256, "mpo(cores=2, bond=8)", 8, 14, "forward"),
]


def caller(layer: Any, plan: ConvPlan, x: torch.Tensor, *, training: bool) -> Callable[[], float]:
    """One call of the layer by a plan, timed in seconds."""

    def call() -> float:
        layer.use_plan(plan)
        with torch.set_grad_enabled(training):
            start = time.perf_counter()
            y = layer(x)
            if training:
                y.backward(torch.ones_like(y))
            return time.perf_counter() - start

    return call


def cell(inputs: int, outputs: int, network: str, batch: int, size: int, mode: str, seconds: float) -> dict[str, Any]:
    """One cell: its plans, their estimates and their times, measured for about so many seconds."""
    training = mode == "training"
    layer = tnl.nn.TNConv2d(inputs, outputs, 3, padding=1, network=network, seed=0)
    plan = layer.plan_for((batch, inputs, size, size), mode)
    asked = plan.convolution, plan.batch, plan.spatial
    route = plan_convolution(*asked, NEVER, plan.objective, plan.dtype)
    rebuilt = ConvPlan(
        convolution=plan.convolution,
        batch=plan.batch,
        spatial=plan.spatial,
        objective=plan.objective,
        dtype=plan.dtype,
        routes=(),
        rebuild=plan.rebuild,
    )
    x = torch.randn(batch, inputs, size, size, requires_grad=training)
    ways = [caller(layer, way, x, training=training) for way in (route, rebuilt)]
    times: tuple[list[float], list[float]] = ([], [])
    for way in ways * 3:
        once = way()
    for _ in range(max(15, int(seconds / max(2 * once, 1e-6)))):
        for k in random.sample(range(2), 2):
            times[k].append(ways[k]())
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    n = len(ratios)
    return {
        "channels": [inputs, outputs],
        "network": network,
        "input": [batch, size, size],
        "mode": mode,
        "steps": [len(each.steps) for each in route.routes],
        "chosen": "route" if plan.routes else "rebuilt",
        "estimated": {"route": route.seconds, "rebuilt": rebuilt.seconds},
        "median_seconds": {"route": statistics.median(times[0]), "rebuilt": statistics.median(times[1])},
        "ratio": [ratios[n // 4], ratios[n // 2], ratios[3 * n // 4]],
        "rounds": n,
    }


def table(results: dict[str, Any]) -> str:
    """The stored figures as a table."""
    lines = [
        "| 3 x 3 layer | input | mode | rebuilt, ms | route to rebuilt | estimated | chosen |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["cells"]:
        low, middle, high = row["ratio"]
        estimated = row["estimated"]["route"] / row["estimated"]["rebuilt"]
        lines.append(
            f"| {' -> '.join(map(str, row['channels']))}, {row['network']} | {' x '.join(map(str, row['input']))} | "
            f"{row['mode']} | {1e3 * row['median_seconds']['rebuilt']:.2f} | {middle:.2f} ({low:.2f}-{high:.2f}) | "
            f"{estimated:.2f} | {row['chosen']} |"
        )
    faster = sum((row["ratio"][1] < 1) == (row["chosen"] == "route") for row in results["cells"])
    where = f"{results['processor']}, one thread, torch {results['torch']}, commit {str(results['commit'])[:7]}"
    text = (
        f"The time of the best route over that of the rebuilt kernel: medians of paired rounds with quartiles, beside "
        f"the estimate. The faster of both is chosen in {faster} of {len(results['cells'])} cells; a route has to be "
        f"estimated at 0.9 or less. {where}."
    )
    return "\n".join([*lines, "", text])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--seconds", type=float, default=2.0, help="per cell")
    parser.add_argument("--out", type=Path, default=FILE)
    asked = parser.parse_args()
    if not asked.show:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        random.seed(0)
        results = {
            "command": command(),
            "commit": commit(),
            "processor": cpu_name(),
            "system": platform.platform(),
            "torch": torch.__version__,
            "cells": [cell(*one, asked.seconds) for one in CELLS],
        }
        asked.out.write_text(json.dumps(results, indent=1) + "\n")
    stored = json.loads(asked.out.read_text())
    print(table(stored))
    if asked.out == FILE:
        PAGE.write_text(filled(PAGE.read_text(), "conv_routes", table(stored)))
