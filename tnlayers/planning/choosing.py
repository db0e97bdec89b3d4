"""The best plan for a contraction: candidates are lowered, chunk sizes tried, and the least estimated time is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import inf
from typing import Any

from tnlayers.declare.graph import MOST_CORES, Contraction
from tnlayers.errors import TNLayersError
from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.bounds import within
from tnlayers.planning.lowered import ITEMSIZES, Objective, dtype_name, objective_name
from tnlayers.planning.memory import memory
from tnlayers.planning.paths import Candidate, Optimizer, candidates
from tnlayers.planning.plan import Plan
from tnlayers.planning.plan_cache import UNREADABLE, is_cached, plan_file, recall, write_plan
from tnlayers.planning.slices import next_cut, sliceable
from tnlayers.pricing.seconds import Estimator
from tnlayers.program.axes import Path
from tnlayers.program.layout import assemble

_MOST_OPERANDS = 2 * MOST_CORES + 2  # those of <W, W> with a metric, or of a weight with its identities
_SLICED = 3  # paths of which bonds are sliced
_TIMED = 5  # plans on the shortlist for tuning
_CHUNKS = 2  # sizes of chunks tried there for one path
_COPYING = 1.15  # estimates of copies are rough: a program without stacks has to be better by this much


def plan_contraction(
    contraction: Contraction,
    *,
    objective: Objective = "forward",
    optimize: Optimizer = "auto",
    dtype: str = "float32",
    memory_limit: int | None = None,
    title: str = "",
    features: tuple[int, int] | None = None,
    device: str = "cpu",
) -> Plan:
    """Find the fastest path and chunk size for any contraction; found once per set of equal arguments.

    What "auto" found is cached on disk for other processes (`plan_cache.py`). Optimizers that are objects may be random
    or keep state: their plans are searched anew each time.

    Raises:
        TNLayersError: If no plan keeps `memory_limit` (bytes, see `Plan.memory`); the message names the least.
    """
    if len(contraction.operands) > _MOST_OPERANDS:
        raise TNLayersError(
            f"{title or 'This contraction'} has {len(contraction.operands)} operands; at most {_MOST_OPERANDS} are "
            "planned for, since the time of planning grows with their square. Contract it in parts."
        )
    search, dtype = _search if callable(optimize) else _cached_search, dtype_name(dtype)
    named = objective_name(objective), _hashable(optimize), dtype, memory_limit
    return search(_Question(contraction, machine(device, dtype), *named, title, features, device))


@dataclass(frozen=True, slots=True)
class _Question:
    """What a plan is asked for: equal questions have one answer."""

    contraction: Contraction
    rates: Machine
    objective: Objective
    optimize: Optimizer
    dtype: str
    memory_limit: int | None
    title: str
    features: tuple[int, int] | None
    device: str

    @property
    def about(self) -> dict[str, Any]:
        """What a plan says of itself beside its contraction, path and chunk."""
        return {name: getattr(self, name) for name in ("objective", "dtype", "title", "features", "device")}


def _search(asked: _Question) -> Plan:
    best, least, smallest = None, inf, inf
    contraction, rates, objective, memory_limit = asked.contraction, asked.rates, asked.objective, asked.memory_limit
    itemsize = ITEMSIZES[asked.dtype]
    found_paths = candidates(contraction, asked.optimize, objective=objective, itemsize=itemsize, machine=rates)
    made = partial(Plan, contraction=contraction, **asked.about)
    forward = _forward(asked)
    if forward is not None:  # within the bounds, if nothing else is
        found_paths.insert(0, Candidate(forward.found_by, forward.path, 0.0))
    for label, path, at_least in found_paths:
        if memory_limit is None and at_least >= least:
            continue  # it cannot win
        for seconds, chunk, stacked in _ways(contraction, path, itemsize, objective, rates):
            if best is not None and seconds >= least:
                break
            found = made(path=path, chunk=chunk or None, stacked=stacked, found_by=label)
            needed = found.memory if memory_limit is not None else 0
            smallest = min(smallest, needed)
            if (memory_limit is None or needed <= memory_limit) and (forward is None or within(found, forward)):
                best, least = found, seconds
                break
    if best is None:
        assert memory_limit is not None
        return _in_parts([made(path=path, found_by=label) for label, path, _ in found_paths], memory_limit, smallest)
    return best


def _forward(asked: _Question) -> Plan | None:
    """The plan that bounds what one for inference may prepare (`bounds.py`); None for other objectives."""
    if asked.objective != "inference" or asked.contraction.batch is None:
        return None
    return _search_or_read(replace(asked, objective="forward", memory_limit=None))


def _in_parts(plans: Sequence[Plan], memory_limit: int, smallest: float) -> Plan:
    """The fastest plan that keeps the limit by summing bonds in parts, where nothing else does.

    Args:
        plans: One for each path.
        memory_limit: In bytes.
        smallest: The least bytes that have been found without.

    Raises:
        TNLayersError: If there is none.
    """
    by_row = [replace(plan, chunk=1) for plan in plans if plan.sweep is not None]
    sliced = [_sliced(plan, memory_limit) for plan in sorted(by_row, key=memory)[:_SLICED]]
    fitting = [plan for plan in sliced if plan.memory <= memory_limit]
    if not fitting:
        title = plans[0].title or "this contraction"
        raise TNLayersError(
            f"No plan for {title} keeps memory_limit={memory_limit} bytes: the least that is feasible is "
            f"{min([smallest, *map(memory, sliced)])} bytes beyond input, output and cores. Raise the limit, or take "
            "smaller batches."
        )
    return min(fitting, key=lambda plan: plan.seconds)


def _ways(
    contraction: Contraction, path: Path, itemsize: int, objective: Objective, rates: Machine
) -> list[tuple[float, int, bool]]:
    """The ways to process the batch along a path, (seconds, rows at a time or 0, with stacks), in order of seconds."""
    ways = []
    for stacked in (True, False):
        estimator = Estimator(assemble(contraction, path, stacked=stacked), contraction, itemsize, objective, rates)
        weight = 1.0 if stacked else _COPYING
        ways += [(weight * estimator.seconds(chunk), chunk or 0, stacked) for chunk in estimator.chunk_sizes()]
        if estimator.chain is None or not any(link.spread for link in estimator.chain.links):
            break  # there are no stacks to do without
    return sorted(ways)


def _sliced(plan: Plan, memory_limit: int) -> Plan:
    """The same path with bonds summed in parts until it keeps the limit, or in those parts that need the least."""
    least = plan
    while plan.memory > memory_limit:
        now = dict(plan.slices)
        cuts = {i: next_cut(plan.contraction.sizes[i], now.get(i, 1)) for i in sliceable(plan.contraction)}
        finer = [replace(plan, slices=tuple((now | {i: parts}).items())) for i, parts in cuts.items() if parts]
        if not finer:
            return least
        plan = min(finer, key=memory)  # the first cut may take more than it saves, since cut cores are copies
        least = min(least, plan, key=memory)
    # More rows at a time, as many as fit.
    while plan.chunk and plan.chunk < (plan.batch or 1):
        wider = replace(plan, chunk=2 * plan.chunk)
        if wider.memory > memory_limit:
            break
        plan = wider
    return plan


def shortlist(first: Plan, memory_limit: int | None = None) -> list[Plan]:
    """The plans worth timing beside the one that `plan_contraction` took: that one, then the next few by the estimate.

    Args:
        first: What `plan_contraction` took.
        memory_limit: What it was asked to keep (bytes, see `Plan.memory`).
    """
    plans, ways, rates = [first], [], machine(first.device, first.dtype)
    contraction, objective, itemsize = first.contraction, first.objective, first.itemsize
    for label, path, _ in candidates(contraction, "auto", objective=objective, itemsize=itemsize, machine=rates):
        estimated = _ways(contraction, path, itemsize, objective, rates)
        ways += [(seconds, chunk, stacked, label, path) for seconds, chunk, stacked in estimated[:_CHUNKS]]
    forward = _forward(_Question(contraction, rates, objective, "auto", first.dtype, None, "", None, first.device))
    for _, chunk, stacked, label, path in sorted(ways, key=lambda way: way[0]):
        plan = replace(first, path=path, chunk=chunk or None, slices=(), stacked=stacked, found_by=label)
        fits = memory_limit is None or plan.memory <= memory_limit
        fits = fits and (forward is None or within(plan, forward))
        if plan not in plans and fits and len(plans) < _TIMED:
            plans.append(plan)
    return plans


def _search_or_read(asked: _Question) -> Plan:
    """What another process has found, else what `_search` finds, cached for the next one."""
    if asked.optimize != "auto" or not is_cached(asked.contraction):
        return _search(asked)
    file = plan_file(asked.contraction, "plans", asked.rates, asked.objective, asked.dtype, asked.memory_limit)
    try:
        return recall(file, asked.contraction, **asked.about)
    except UNREADABLE:  # there is none yet, or it is damaged
        found = _search(asked)
    with suppress(OSError):  # a folder that cannot be written to keeps nothing, and planning goes on without
        write_plan(file, found)
    return found


_cached_search: Callable[..., Plan] = lru_cache(maxsize=4096)(_search_or_read)


def _hashable(optimize: Any) -> Any:
    if isinstance(optimize, str) or callable(optimize):
        return optimize
    try:
        return tuple(tuple(int(k) for k in step) for step in optimize)
    except (TypeError, ValueError) as error:
        raise TNLayersError(
            f"optimize={optimize!r} is no optimizer of opt_einsum, no name of one, no path such as [(0, 1), (0, 1)]."
        ) from error
