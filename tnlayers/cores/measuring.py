"""Timing orders: a plan, the planner's own, the next candidates and the dense layer, in turns, on one backend."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from tnlayers.backends import backend as find_backend
from tnlayers.declare.graph import Contraction
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.measured import Measurement, Timed, measure_with
from tnlayers.planning.plan import Plan
from tnlayers.planning.ranking import ranked

_CANDIDATES = 8  # timed beside the order asked for, at most
_LEAST = 1e-3  # one timing repeats a pass until it lasts this long
_ROUNDS = 400  # at most; five at least


def measure(plan: Plan, backend: str | None = None, seconds: float = 1.0) -> Measurement:
    """Time a plan beside the planner's, its candidates and the dense layer; see `Plan.measure`.

    Raises:
        TNLayersError: If the backend is unknown, times nothing, or cannot run this objective or dtype.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 600:
        raise TNLayersError(f"seconds={seconds!r}: a number of seconds above 0 and up to 600 is needed.")
    runs_on = find_backend(backend)
    if runs_on.timed is None:
        raise TNLayersError(f"Backend {runs_on.name!r} times no plans. Those that do: numpy, torch, jax.")
    if plan.dtype not in runs_on.dtypes:
        raise TNLayersError(
            f"Backend {runs_on.name!r} has no {plan.dtype}, the dtype of this plan; it has {', '.join(runs_on.dtypes)}."
        )
    plans = _orders(plan)
    times = _in_turns({name: runs_on.timed(each) for name, each in plans.items()}, seconds)
    rows = []
    for name, each in plans.items():
        low, median, high = (float(value) for value in np.quantile(times[name], (0.25, 0.5, 0.75)))
        rows.append(
            Timed(name=name, seconds=median, low=low, high=high, estimate=each.seconds, passes=len(times[name]))
        )
    return Measurement(
        title=plan.title or "einsum",
        batch=plan.batch,
        backend=runs_on.name,
        objective=plan.objective,
        dtype=plan.dtype,
        rows=tuple(rows),
    )


def operands(contraction: Contraction, dtype: str) -> list[Any]:
    """Random numbers for all operands, as numpy's arrays of the nearest dtype that it has."""
    draw = np.random.default_rng(0)
    kind = {"bfloat16": "float32"}.get(dtype, dtype)
    shapes = ([contraction.sizes[i] for i in indices] for indices in contraction.operands)
    return [draw.standard_normal(shape, np.float32).astype(kind) for shape in shapes]


def _orders(plan: Plan) -> dict[str, Plan]:
    """What is timed, by name."""
    asked: dict[str, Any] = {"objective": plan.objective, "dtype": plan.dtype, "device": plan.device}
    best = plan_contraction(plan.contraction, title=plan.title, features=plan.features, **asked)
    found = {"this order": plan}
    if best != plan:
        found["planner"] = best
    others = [each for each in ranked(best) if each.path not in (best.path, plan.path)]
    for number, each in enumerate(others[:_CANDIDATES], start=1):
        found[f"candidate {number}: {each.found_by}"] = each
    if plan.features is not None and plan.batch is not None:
        inside, outside = plan.features
        dense = Contraction(
            names=("x", "weight"),
            operands=((0, 1), (2, 1)),
            output=(0, 2),
            sizes=(plan.batch, inside, outside),
            batch=0,
        )
        found["dense"] = replace(plan_contraction(dense, **asked), chunk=None)
    return found


def _in_turns(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """The seconds of one pass of each, round after round in another order, so that disturbances fall on all alike."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, round(_LEAST / max(_time(call, 1), 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    names, shuffled, begin = list(calls), random.Random(0), perf_counter()
    for number in range(_ROUNDS):
        if number >= 5 and perf_counter() - begin > seconds:
            break
        shuffled.shuffle(names)
        for name in names:
            times[name].append(_time(calls[name], repeats[name]))
    return times


def _time(call: Callable[[], object], repeats: int) -> float:
    begin = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - begin) / repeats


measure_with(measure)
