"""Measuring: contenders of one cell in turns, rounds until the time is up, and the peak of memory of each.

A round times every contender once, in a new order each round. CPU time of the process is counted on one thread, so that
other processes of the machine disturb less; wall time where there are several threads.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from tnlayers.bench.cells import Cell

_LEAST_SECONDS = 2e-3  # one timing repeats the call until it lasts this long
_ROUNDS = (5, 200)
_GIVE_UP = 40.0  # a contender this many times slower than dense at its first call is timed once


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One contender in one cell.

    Attributes:
        seconds: The time of one call in each round.
        peak: Largest number of bytes allocated at once during a call, beyond what was there before it.
        kept: Bytes allocated by the forward pass and still there when the backward pass starts, the result excluded.
    """

    seconds: tuple[float, ...]
    peak: int
    kept: int

    @property
    def median(self) -> float:
        """Median seconds of one call."""
        return float(np.median(self.seconds))


def call_of(module: nn.Module, cell: Cell) -> Callable[[], Any]:
    """What is timed: one forward pass without gradients, or one forward and backward pass."""
    x = torch.randn(cell.batch, cell.in_features).to(getattr(torch, cell.dtype))
    if cell.mode == "forward":

        def infer() -> Any:
            with torch.no_grad():
                return module(x)

        return infer
    x.requires_grad_()
    grad = torch.randn(cell.batch, cell.out_features).to(x.dtype)

    def train() -> None:
        x.grad = None
        module.zero_grad(set_to_none=True)
        module(x).backward(grad)

    return train


def measure(calls: dict[str, Callable[[], Any]], cell: Cell, *, cap: float, seed: int = 0) -> dict[str, Timing]:
    """Time all contenders of a cell in turns.

    Args:
        calls: What to time, by name; "dense" among them.
        cell: For threads and mode.
        cap: Seconds after which no further round begins.
        seed: Of the order within rounds.
    """
    torch.set_num_threads(cell.threads)
    clock = time.process_time if cell.threads == 1 else time.perf_counter
    begin = time.perf_counter()
    repeats, found = {}, {name: [] for name in calls}  # type: ignore[var-annotated]
    for name, call in calls.items():
        call()  # first calls plan, allocate, and compile
        first = _time(call, 1, clock)
        repeats[name] = max(1, round(_LEAST_SECONDS / max(first, 1e-7)))
        found[name].append(_time(call, repeats[name], clock))
    slow = {name for name in calls if found[name][0] > _GIVE_UP * found["dense"][0] and found[name][0] > cap / 20}
    order = [name for name in calls if name not in slow]
    shuffle = random.Random(seed).shuffle
    for number in range(_ROUNDS[1]):
        if number >= _ROUNDS[0] and time.perf_counter() - begin > cap:
            break
        shuffle(order)
        for name in order:
            found[name].append(_time(calls[name], repeats[name], clock))
    timings = {}
    for name, call in calls.items():
        peak, kept = memory(call, cell)
        seconds = found[name][1:] or found[name]
        timings[name] = Timing(seconds=tuple(seconds), peak=peak, kept=kept)
    return timings


def _time(call: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def memory(call: Callable[[], Any], cell: Cell) -> tuple[int, int]:
    """Peak bytes allocated at once by a call, and the bytes live where its backward pass begins (0 without one)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            call()
    assert profiler.profiler is not None
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    live = peak = kept = 0
    started = cell.mode == "forward"
    for event in events:
        if not started and event.name().startswith("autograd::engine::evaluate_function"):
            started, kept = True, live
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    itemsize = getattr(torch, cell.dtype).itemsize
    return peak, max(0, kept - cell.batch * cell.out_features * itemsize)


def ratio(timing: Timing, reference: Timing, *, seed: int = 0) -> tuple[float, float, float]:
    """Median of the ratios of times of the same round, with a 95 % interval by bootstrap over rounds."""
    n = min(len(timing.seconds), len(reference.seconds))
    ratios = np.array(timing.seconds[:n]) / np.array(reference.seconds[:n])
    draws = np.random.default_rng(seed).choice(ratios, (2000, n))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)
