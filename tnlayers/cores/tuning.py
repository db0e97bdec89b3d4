"""Tuning: the few best plans by the estimate are timed on this machine, and the fastest is cached on disk.

An estimate ranks programs well but not surely. `tune=True` runs the best few for a second or so and believes the
clock. What it found lies in the user's cache folder beside the measured rates, one small file per (machine, threads,
contraction with its batch, objective, dtype, code of the planner), and is read instead of measured the next time.
Nothing here is called by a layer's `forward`: tuning is asked for, by `tnl.plan(..., tune=True)`, `layer.tune(...)` or
`tnlayers plan --tune`.
"""

from __future__ import annotations

import platform
import warnings
from pathlib import Path

from tnlayers.backends import backend
from tnlayers.declare.graph import Contraction
from tnlayers.errors import TNLayersWarning
from tnlayers.files.cache import is_cached
from tnlayers.planning.choosing import plan_contraction, shortlist
from tnlayers.planning.fingerprint import fingerprint
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers.planning.plan_cache import UNREADABLE, plan_file, recall, write_plan

_MARGIN = 0.97  # the estimate's favourite is left only for a plan that is faster by more than the clock's noise


def tuned(
    contraction: Contraction,
    *,
    objective: Objective = "forward",
    dtype: str = "float32",
    memory_limit: int | None = None,
    title: str = "",
    features: tuple[int, int] | None = None,
) -> Plan:
    """The plan that runs fastest here, measured with torch on the processor, or read where it was measured before.

    Args:
        contraction: A layer's contraction, with its batch.
        objective: What is timed: the forward pass, forward and backward, or the forward pass with all prepared.
        dtype: Of input and cores.
        memory_limit: As in `tnl.plan`.
        title: What the plan is for, in words.
        features: As in `Plan`.

    Raises:
        TNLayersError: If torch is not installed, or no plan keeps the memory limit.
    """
    clock = backend("torch").clock
    assert clock is not None  # torch's backend has one
    first = plan_contraction(
        contraction, objective=objective, dtype=dtype, memory_limit=memory_limit, title=title, features=features
    )
    file = _file(first, memory_limit, clock.threads())
    kept = _read(file, first)
    if kept is not None:
        return kept
    plans = shortlist(first, memory_limit)
    measured = clock.seconds(plans)
    fastest = min(measured)
    best = plans[0] if fastest > _MARGIN * measured[0] else plans[measured.index(fastest)]
    _write(file, best)
    return best


def _file(plan: Plan, memory_limit: int | None, threads: int) -> Path:
    """Where the plan for these circumstances is cached."""
    own = fingerprint(("cores/tuning.py",))
    return plan_file(plan.contraction, "tuned", own, platform.node(), threads, plan.objective, plan.dtype, memory_limit)


def _read(file: Path, like: Plan) -> Plan | None:
    """The plan in a file, or None where there is none; a damaged file is reported and not used."""
    if not is_cached(file):
        return None
    about = {"objective": like.objective, "dtype": like.dtype, "title": like.title, "features": like.features}
    try:
        return recall(file, like.contraction, **about)
    except UNREADABLE as error:
        reason = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"{file} holds no tuned plan ({reason}); it is measured again and replaced.", TNLayersWarning, stacklevel=4
    )
    return None


def _write(file: Path, plan: Plan) -> None:
    """Keep a plan. Processes that tune the same thing at once write files of their own; the last one stays."""
    try:
        write_plan(file, plan)
    except OSError as error:
        warnings.warn(
            f"The tuned plan cannot be kept in {file.parent} ({error.strerror}): the next process measures again. "
            "To keep it, set TNLAYERS_CACHE to a folder that can be written to.",
            TNLayersWarning,
            stacklevel=4,
        )
