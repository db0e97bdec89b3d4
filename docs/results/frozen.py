"""Write the table of docs/plans.md on what inference compares and keeps: `taskset -c 0 python docs/results/frozen.py`.

One call without gradients of `nn.Linear`, of a layer whose cores are compared at every call, of the same with the
comparison left out, and of the frozen layer: round by round in turns on one thread, the order drawn anew each round.
Ratios are of paired rounds. `--show` prints the stored table.
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
from tnlayers_backends.torch.run import snapshot

import tnlayers as tnl
from tnlayers.files.origin import command, commit, cpu_name

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).resolve().parents[1] / "plans.md"
CELLS = [
    (784, 256, "mpo(cores=4, bond=16)", 1),
    (784, 256, "mpo(cores=4, bond=16)", 5),
    (784, 256, "mpo(cores=4, bond=16)", 128),
    (1024, 1024, "mpo(cores=4, bond=16)", 1),
    (4096, 4096, "mpo(cores=4, bond=16)", 1),
    (768, 3072, "mpo(cores=2, bond=64)", 1),
    (4096, 11008, "mpo(cores=4, bond=64)", 128),
]
LARGE = 2**30  # what the frozen layers may keep


class Unguarded:
    """A layer whose comparison of the cores always says that they are the same."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.layer = layer

    def __call__(self, x: torch.Tensor) -> Any:
        """The layer's output."""
        real, snapshot.Snapshot.of = snapshot.Snapshot.of, lambda self, cores: True  # type: ignore[method-assign]
        try:
            return self.layer(x)
        finally:
            snapshot.Snapshot.of = real  # type: ignore[method-assign]


def cell(inputs: int, outputs: int, network: str, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds of every way for one layer and batch."""
    guarded = tnl.nn.TNLinear(inputs, outputs, network=network, seed=0).eval()
    frozen = tnl.nn.TNLinear(inputs, outputs, network=network, seed=0).freeze(memory_limit=LARGE)
    x = torch.randn(batch, inputs)
    ways: dict[str, Callable[[torch.Tensor], Any]] = {
        "dense": torch.nn.Linear(inputs, outputs),
        "compared": guarded,
        "not compared": Unguarded(guarded),
        "frozen": frozen,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for way in ways.values():
            way(x)
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            start = time.perf_counter()
            ways[name](x)
            times[name].append(time.perf_counter() - start)
    pairs = {
        name: sorted(a / b for a, b in zip(own, times["dense"], strict=True))
        for name, own in times.items()
        if name != "dense"
    }
    return {
        "in_features": inputs,
        "out_features": outputs,
        "network": network,
        "batch": batch,
        "rounds": rounds,
        "core_entries": sum(core.numel() for core in guarded.cores.values()),
        "frozen_bytes": frozen.frozen,
        "median_seconds": {name: statistics.median(own) for name, own in times.items()},
        "ratio": {
            name: [found[len(found) // 4], statistics.median(found), found[3 * len(found) // 4]]
            for name, found in pairs.items()
        },
    }


def table(results: dict[str, Any]) -> str:
    """The stored figures as a table."""
    lines = [
        "| layer | batch | `nn.Linear`, us | implicit | of it comparing, us | frozen | frozen keeps |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["cells"]:
        seconds = row["median_seconds"]
        comparing = 1e6 * (seconds["compared"] - seconds["not compared"])
        (low, implicit, high), (frozen_low, frozen, frozen_high) = row["ratio"]["compared"], row["ratio"]["frozen"]
        lines.append(
            f"| {row['in_features']} -> {row['out_features']}, {row['network']} | {row['batch']} | "
            f"{1e6 * seconds['dense']:.0f} | {implicit:.2f} ({low:.2f}-{high:.2f}) | {comparing:.0f} | "
            f"{frozen:.2f} ({frozen_low:.2f}-{frozen_high:.2f}) | {row['frozen_bytes'] / 1e6:.1f} MB |"
        )
    where = f"{results['processor']}, one thread, torch {results['torch']}, commit {str(results['commit'])[:7]}"
    return "\n".join([*lines, "", f"Ratios to `nn.Linear` of paired rounds, medians with quartiles. {where}."])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--rounds", type=int, default=2000)
    asked = parser.parse_args()
    if not asked.show:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        random.seed(0)
        with torch.no_grad():
            cells = [cell(*one, max(20, asked.rounds // (1 if one[3] == 1 and one[0] < 4096 else 20))) for one in CELLS]
        results = {
            "command": command(),
            "commit": commit(),
            "processor": cpu_name(),
            "system": platform.platform(),
            "torch": torch.__version__,
            "cells": cells,
        }
        FILE.write_text(json.dumps(results, indent=1) + "\n")
    stored = json.loads(FILE.read_text())
    PAGE.write_text(filled(PAGE.read_text(), "frozen", table(stored)))
    print(table(stored))
