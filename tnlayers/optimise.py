"""The best plan for a contraction: candidates are lowered, chunk sizes tried, and the least estimated time is taken."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import Any

from tnlayers.calibrate import machine
from tnlayers.errors import TNLayersError
from tnlayers.estimate import Estimator
from tnlayers.layout import assemble
from tnlayers.lower import Contraction
from tnlayers.machine import Machine
from tnlayers.plan import ITEMSIZES, Objective, Plan, dtype_name, objective_name
from tnlayers.search import Optimizer, candidates

# What an inference plan may keep prepared from the cores, in bytes: a float32 weight of 4096 x 4096.
PREPARED_LIMIT = 2**26


def plan_contraction(
    contraction: Contraction,
    *,
    objective: Objective = "forward",
    optimize: Optimizer = "auto",
    dtype: str = "float32",
    memory_limit: int | None = None,
    title: str = "",
    features: tuple[int, int] | None = None,
) -> Plan:
    """Find the fastest path and chunk size for any contraction; found once per set of equal arguments.

    Optimizers that are objects may be random or keep state: their plans are searched anew each time.

    Raises:
        TNLayersError: If no plan keeps `memory_limit` (bytes, see `Plan.memory`); the message names the least.
    """
    search = _search if callable(optimize) else _cached_search
    asked = objective_name(objective), _hashable(optimize), dtype_name(dtype), memory_limit
    return search(contraction, machine(), *asked, title, features)


def _search(
    contraction: Contraction,
    rates: Machine,
    objective: Objective,
    optimize: Optimizer,
    dtype: str,
    memory_limit: int | None,
    title: str,
    features: tuple[int, int] | None,
) -> Plan:
    best, least, smallest = None, (True, inf), inf
    itemsize = ITEMSIZES[dtype]
    found_paths = candidates(contraction, optimize, objective=objective, itemsize=itemsize, machine=rates)
    for label, path in found_paths:
        program = assemble(contraction, path)
        estimator = Estimator(program, contraction, itemsize, objective, rates)
        for seconds, chunk in sorted((estimator.seconds(chunk), chunk or 0) for chunk in estimator.chunk_sizes()):
            if best is not None and (False, seconds) >= least:
                break
            found = Plan(
                contraction=contraction,
                path=path,
                objective=objective,
                dtype=dtype,
                chunk=chunk or None,
                found_by=label,
                title=title,
                features=features,
            )
            needed = found.memory if memory_limit is not None else 0
            smallest = min(smallest, needed)
            too_much = objective == "inference" and found.prepared > PREPARED_LIMIT
            if (memory_limit is None or needed <= memory_limit) and (too_much, seconds) < least:
                best, least = found, (too_much, seconds)
                break
    if best is None:
        raise TNLayersError(
            f"No plan for {title or 'this contraction'} keeps memory_limit={memory_limit} bytes: the least that is "
            f"feasible is {smallest} bytes beyond input, output and cores. Raise the limit, or take smaller batches."
        )
    return best


_cached_search: Callable[..., Plan] = lru_cache(maxsize=4096)(_search)


def _hashable(optimize: Any) -> Any:
    if isinstance(optimize, str) or callable(optimize):
        return optimize
    try:
        return tuple(tuple(int(k) for k in step) for step in optimize)
    except (TypeError, ValueError) as error:
        raise TNLayersError(
            f"optimize={optimize!r} is no optimizer of opt_einsum, no name of one, no path such as [(0, 1), (0, 1)]."
        ) from error
