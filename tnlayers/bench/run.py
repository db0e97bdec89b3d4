"""Running the benchmark: cell by cell into one JSON file, which a second call goes on with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tnlayers
from tnlayers.atomic import replacing
from tnlayers.bench.cells import Cell
from tnlayers.bench.contenders import OWN
from tnlayers.bench.limit import limit
from tnlayers.bench.measure import Timing, call_of, measure, ratio
from tnlayers.bench.peers import installed

_PACKAGES = ("torch", "numpy", "opt_einsum", "tensornetwork-ng", "tensorly-torch", "torch-mpo", "torchTT", "tednet")


def run_cells(cells: Iterable[Cell], path: Path, *, cap: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the cells that the file does not have yet, and write it after each.

    Args:
        cells: What to measure.
        path: JSON file of results, made if it is not there.
        cap: Seconds per cell after which no further round begins.
        tell: Takes one line per cell.
    """
    data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    data |= {"machine": machine(), "versions": versions(), "cap_seconds": cap}
    for cell in cells:
        if cell.name in data["cells"]:
            continue
        data["cells"][cell.name] = result = run_cell(cell, cap=cap)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write((json.dumps(data, indent=1) + "\n").encode())
        tell(f"{cell.name}: {summary(result)}")
    return data


def run_cell(cell: Cell, *, cap: float) -> dict[str, Any]:
    """Measure one cell."""
    torch.manual_seed(0)
    makers = OWN | (installed() if not cell.network else {})
    calls, failed = {}, {}
    for name, make in makers.items():
        try:
            calls[name] = _checked(make(cell), cell)
        except Exception as error:  # a library that cannot run a cell is reported, and ends nothing
            failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
    timings = measure(calls, cell, cap=cap)
    return {
        "cell": cell.to_dict(),
        "limit_seconds": limit(cell),
        "contenders": {name: _numbers(timing, timings["dense"]) for name, timing in timings.items()},
        "failed": failed,
    }


def _checked(module: nn.Module, cell: Cell) -> Callable[[], Any]:
    """The call to time, after one try that gives the right shape."""
    with torch.no_grad():
        y = module(torch.randn(2, cell.in_features).to(getattr(torch, cell.dtype)))
    if tuple(y.shape) != (2, cell.out_features):
        raise ValueError(f"gives shape {tuple(y.shape)} for a batch of 2")
    return call_of(module, cell)


def _numbers(timing: Timing, dense: Timing) -> dict[str, Any]:
    median, low, high = ratio(timing, dense)
    ordered = sorted(timing.seconds)
    return {
        "seconds": timing.median,
        "quartiles": [ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]],
        "rounds": len(ordered),
        "to_dense": median,
        "to_dense_95": [low, high],
        "peak_bytes": timing.peak,
        "kept_bytes": timing.kept,
    }


def best_peer(result: dict[str, Any]) -> tuple[str, float] | None:
    """The fastest other library of a cell and its seconds; None where none ran."""
    times = {name: c["seconds"] for name, c in result["contenders"].items() if name not in OWN}
    return min(times.items(), key=lambda item: item[1]) if times else None


def summary(result: dict[str, Any]) -> str:
    """A cell in one line."""
    own = result["contenders"]["tnlayers"]
    text = f"{own['to_dense']:.2f} of dense, {own['seconds'] / result['limit_seconds']:.2f} of the limit"
    if (peer := best_peer(result)) is not None:
        text += f"; best peer {peer[0]} takes {peer[1] / own['seconds']:.2f} times as long"
    return text


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    """Versions of all that is compared."""
    found = {"tnlayers": tnlayers.__version__}
    for package in (*_PACKAGES, "tensorkrowch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
