"""Time tensor-network layers on a GPU beside dense ones: `gpu.json`.

    python docs/results/gpu.py --seconds 110

In each cell an `nn.Linear`, the layer of this library, and the weight rebuilt at every call take turns. They run
"eager"; as a "graph", captured once and replayed, so that launches from Python do not count; and on a few cells by
torch's "compile". Named cells come first, then the grid, until the seconds are over. TF32 is off.

Times are those of CUDA events, in milliseconds: the median over rounds, and the quartiles as the spread. Inputs and
weights are the same at every call, so what fits into the L2 stays there, for all alike. Every contender is compared
with the weight in float64 first: `error` is ||y - y64|| / ||y64||, or that of the gradient of x if it is larger.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tnlayers_backends.torch.run.device import device_name
from torch import Tensor, nn

from tnlayers.bench.cells import BATCHES, BONDS, LAYERS, MODES, NAMED, Cell
from tnlayers.bench.contenders import OWN
from tnlayers.files.atomic import write_text
from tnlayers.files.origin import commit
from tnlayers.machine.saved_rates import machine

DTYPES = ("float32", "bfloat16")
CONTENDERS = ("dense", "tnlayers", "rebuild")
# A compilation takes seconds: these cells alone, by the places of their layers, bonds and batches in NAMED.
COMPILED = ((1, "training"), (3, "training"), (3, "forward"), (0, "forward"))
ROUNDS = 9
LEAST_SECONDS = 1e-3  # one timing repeats the call until it lasts this long
CHECKED_ROWS = 256
LIMITS = {"float32": 1e-4, "bfloat16": 5e-2}  # a larger error is a failure: cores in a row, each rounded
Row = dict[str, Any]
Call = Callable[[], Any]


def cells() -> Iterator[tuple[Cell, str]]:
    """Cells and how they run, in order: the named ones, those that are compiled, then the whole grid."""
    named = [cell(*sizes, mode, dtype) for dtype in DTYPES for sizes in NAMED for mode in MODES]
    yield from ((each, how) for each in named for how in ("eager", "graph"))
    yield from ((cell(*NAMED[k], mode, dtype), "compile") for dtype in DTYPES for k, mode in COMPILED)
    grid = [
        cell(*layer, bond, batch, mode, dtype)
        for batch in sorted(BATCHES, key=lambda batch: abs(batch - 128))
        for dtype in DTYPES
        for layer in LAYERS
        for bond in BONDS
        for mode in MODES
    ]
    yield from ((each, how) for each in grid if each not in named for how in ("eager", "graph"))


def cell(*values: Any) -> Cell:
    """A cell from its values in order."""
    names = ("in_features", "out_features", "cores", "bond", "batch", "mode", "dtype")
    return Cell(**dict(zip(names, values, strict=True)))


def weight64(module: nn.Module) -> Tensor:
    """The weight (out, in) of a contender, from its parameters in float64."""
    twin = copy.deepcopy(getattr(module, "layer", module)).double()
    weight = twin.to_dense() if hasattr(twin, "to_dense") else twin.weight
    return weight.detach()


class Contender:
    """A module of a cell on a device with its input, ready to be called."""

    def __init__(self, name: str, cell: Cell, device: torch.device) -> None:
        self.cell, dtype = cell, getattr(torch, cell.dtype)
        with device:  # made there: a hundred million random numbers take a second on the processor
            self.module = OWN[name](cell).to(device)
        self.runs: Callable[[Tensor], Tensor] = self.module
        self.x = torch.randn(cell.batch, cell.in_features, device=device).to(dtype)
        self.grad = torch.randn(cell.batch, cell.out_features, device=device).to(dtype)
        self.x.requires_grad_(cell.mode == "training")

    def __call__(self) -> Tensor:
        """One forward pass without gradients, or one forward and backward pass."""
        if self.cell.mode == "forward":
            with torch.no_grad():
                return self.runs(self.x)
        self.x.grad = None
        self.module.zero_grad(set_to_none=True)
        y = self.runs(self.x)
        y.backward(self.grad)
        return y.detach()

    def error(self) -> float:
        """The largest relative error of the result and of the gradient of x, over the first rows."""
        rows = slice(0, CHECKED_ROWS)
        weight = weight64(self.module)
        found = [(self()[rows], self.x.detach()[rows].double() @ weight.T)]
        if self.x.grad is not None:
            found.append((self.x.grad[rows], self.grad[rows].double() @ weight))
        errors = [(value.double() - true).norm() / true.norm() for value, true in found]
        return float(torch.stack(errors).max())  # NaN if one of them is, which Python's max may not see

    def captured(self) -> Call:
        """The call as the replay of a CUDA graph."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self()
        torch.cuda.current_stream().wait_stream(stream)
        self.x.grad = None
        self.module.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self()
        return graph.replay

    def prepared(self, how: str) -> Call:
        """What is timed, warmed up."""
        if how == "graph":
            return self.captured()
        if how == "compile":
            torch._dynamo.reset()
            self.runs = torch.compile(self.module, dynamic=False)
        for _ in range(3):
            self()
        return self


class Clock:
    """Seconds on a CUDA device by its events, or on the processor by the clock on the wall."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def seconds(self, call: Call, repeats: int) -> float:
        """The mean of so many calls in a row."""
        if not self.cuda:
            begin = time.perf_counter()
            for _ in range(repeats):
                call()
            return (time.perf_counter() - begin) / repeats
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / repeats

    def peak(self, call: Call) -> int | None:
        """Bytes allocated at most during a call, beyond what was there before."""
        if not self.cuda:
            return None
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before


def measure(cell: Cell, how: str, device: torch.device) -> list[Row]:
    """One row per contender of a cell; one that fails has its reason in the place of figures."""
    clock, calls, rows, kept = Clock(device), {}, {}, []
    about = {"layer": [cell.in_features, cell.out_features, cell.cores]}
    about |= {name: getattr(cell, name) for name in ("bond", "batch", "mode", "dtype")}
    for name in CONTENDERS[:2] if how == "compile" else CONTENDERS:
        rows[name] = {**about, "how": how, "contender": name}
        try:
            contender = Contender(name, cell, device)
            kept.append(contender)  # a captured graph reads and writes its tensors, and does not hold them
            rows[name]["error"] = error = contender.error()
            if not error < LIMITS[cell.dtype]:
                raise ArithmeticError(f"the relative error is {error:.2g}")
            rows[name]["peak_bytes"] = clock.peak(contender) if how == "eager" else None
            calls[name] = contender.prepared(how)
        except Exception as failure:  # whatever a driver or compiler may raise: it is noted, and the rest goes on
            rows[name]["failure"] = f"{type(failure).__name__}: {str(failure)[:300]}"
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {name: _repeats(clock, call) for name, call in calls.items()}
    for turn in range(ROUNDS):
        for name in random.Random(turn).sample(sorted(calls), len(calls)):
            times[name].append(1e3 * clock.seconds(calls[name], repeats[name]))
    for name, found in times.items():
        low, median, high = statistics.quantiles(found, n=4)
        rows[name] |= {"ms": median, "spread": [low, high]}
    return list(rows.values())


def _repeats(clock: Clock, call: Call) -> int:
    return max(1, round(LEAST_SECONDS / max(clock.seconds(call, 1), 1e-7)))


def environment(device: torch.device) -> Row:
    """What the figures were measured on, with the rates that plans were made with."""
    name = device_name(device)
    found = {"commit": commit(), "python": platform.python_version(), "torch": torch.__version__, "device": name}
    rates = {dtype: asdict(machine(name, dtype)) for dtype in DTYPES}
    return found | {"cuda": torch.version.cuda, "tf32": False, "rates": rates}


def text(store: Row) -> str:
    """The file: figures to five digits, a row a line."""
    rows = ",\n".join(json.dumps({name: _short(value) for name, value in row.items()}) for row in store["rows"])
    return f'{{"environment": {json.dumps(store["environment"])},\n "rows": [\n{rows}\n]}}\n'


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def run(todo: Iterable[tuple[Cell, str]], device: torch.device, seconds: float, out: Path) -> list[Row]:
    """Measure cells until the seconds are over, and write the file now and then, and at the end."""
    gc.disable()  # a collection would disturb timings, and may free memory while a graph is captured
    begin, rows, written, count = time.monotonic(), [], 0.0, 0
    store: Row = {"environment": environment(device), "rows": rows}
    for cell, how in todo:
        if time.monotonic() - begin > seconds:
            break
        rows += measure(cell, how, device)
        count += 1
        if time.monotonic() - written > 2.0:
            written = time.monotonic()
            write_text(out, text(store))
            gc.collect()
    store["environment"] |= {"seconds": round(time.monotonic() - begin, 1), "cells": count}
    write_text(out, text(store))
    return rows


def main() -> None:
    """Read the command line, measure, and print a line per cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=110.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gpu.json"))
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # compilers tell of much that does not matter here
    hows = ("eager", "graph", "compile") if device.type == "cuda" else ("eager",)
    rows = run(((cell, how) for cell, how in cells() if how in hows), device, asked.seconds, asked.out)
    for row in rows:
        if "failure" in row or (*row["layer"], row["bond"], row["batch"]) in NAMED:
            words = [str(row[name]) for name in ("layer", "bond", "batch", "mode", "dtype", "how", "contender")]
            print(*words, row.get("failure") or f"{row['ms']:.4f} ms, error {row['error']:.0e}")
    print(len(rows), "rows in", asked.out)


if __name__ == "__main__":
    main()
