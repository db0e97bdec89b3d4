"""Measuring: the subjects of one cell in turns, round after round, until the cell's time is up.

A round times subjects once each, in a new order. Those that are in the running (within 1.5 times the time of the
fastest other library or way, with ours and the dense layer) share most of the time and take part in every round; the
others take part in fewer, evenly spread, so that a slow one does not eat the cell. Ratios are of times of the same
round. CPU time of the process is counted on one thread, so that what else the machine does disturbs less; wall time on
several threads.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np

_LEAST_SECONDS = 2e-3  # one timing repeats the call until it lasts this long
_ROUNDS = 200  # at most
_FEWEST = 3  # for those in the running; one for others
_NEAR = 1.5
_NEAR_SHARE = 0.75  # of the cell's time
OURS, DENSE = "tnlayers", "dense"

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One subject in one cell.

    Attributes:
        seconds: The time of one call, by round.
    """

    seconds: Mapping[int, float]

    @property
    def median(self) -> float:
        """Median seconds of one call."""
        return float(np.median(list(self.seconds.values())))

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the rounds took less than the first, and a quarter more than the second."""
        low, high = np.quantile(list(self.seconds.values()), (0.25, 0.75))
        return float(low), float(high)


def clock_for(threads: int) -> Callable[[], float]:
    """The clock: CPU time of the process on one thread, wall time on several."""
    return time.process_time if threads == 1 else time.perf_counter


def measure(calls: Mapping[str, Call], *, threads: int, cap: float, seed: int = 0) -> dict[str, Timing]:
    """Time all calls in turns.

    Args:
        calls: What to time, by name; each has run before, so that nothing is planned or compiled any more.
        threads: How many threads they compute with.
        cap: Seconds that the rounds may take.
        seed: Of the order within rounds.
    """
    clock = clock_for(threads)
    repeats, first = {}, {}
    for name, call in calls.items():
        once = _time(call, 1, clock)
        repeats[name] = max(1, round(_LEAST_SECONDS / max(once, 1e-7)))
        first[name] = _time(call, repeats[name], clock) if repeats[name] > 1 else once
    turns = _turns({name: first[name] * repeats[name] for name in calls}, first, cap)
    rounds = max(turns.values(), default=0)
    found: dict[str, dict[int, float]] = {name: {} for name in calls}
    shuffled = random.Random(seed)
    for number in range(rounds):
        order = [n for n in calls if (number + 1) * turns[n] // rounds > number * turns[n] // rounds]
        shuffled.shuffle(order)
        for name in order:
            found[name][number] = _time(calls[name], repeats[name], clock)
    return {name: Timing(seconds=seconds) for name, seconds in found.items()}


def _turns(cost: Mapping[str, float], first: Mapping[str, float], cap: float) -> dict[str, int]:
    """How many rounds each takes part in: all that are near get the same number, and the others share what is left."""
    others = [seconds for name, seconds in first.items() if name not in (OURS, DENSE)]
    bound = _NEAR * min(others, default=0.0)
    near = {name for name, seconds in first.items() if name in (OURS, DENSE) or seconds <= bound}
    far = first.keys() - near
    share = _NEAR_SHARE if far else 1.0
    rounds = _fit(share * cap, sum(cost[name] for name in near), _FEWEST, _ROUNDS)
    rest = _fit((1 - share) * cap, sum(cost[name] for name in far), 1, rounds)
    return {name: rounds if name in near else rest for name in first}


def _fit(seconds: float, cost: float, fewest: int, most: int) -> int:
    return min(most, max(fewest, int(seconds / max(cost, 1e-9))))


def _time(call: Call, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def ratio(timing: Timing, reference: Timing, *, seed: int = 0) -> tuple[float, float, float]:
    """Median of the ratios of times of the same round, with a 95 % interval by bootstrap over rounds."""
    common = sorted(timing.seconds.keys() & reference.seconds.keys())
    return interval([timing.seconds[n] / reference.seconds[n] for n in common], seed=seed)


def interval(values: Iterable[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Median and a 95 % interval of it, by 2000 draws with replacement (Efron 1979, the percentile interval)."""
    ratios = np.array(list(values))
    draws = np.random.default_rng(seed).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def mean(ratios: Iterable[float]) -> float:
    """Geometric mean; nan of nothing."""
    logs = [log(ratio) for ratio in ratios]
    return exp(sum(logs) / len(logs)) if logs else float("nan")
