"""The plan of a convolution: a route per network, or the kernel rebuilt and applied once, whichever is faster.

What the search found is stored on disk (`plan_cache.py`), as the order of the groups of cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import machine
from tnlayers.planning.conv_plan import Convolution, ConvPlan, Route
from tnlayers.planning.conv_search import RouteSearch
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan_cache import UNREADABLE, cache_file, is_caching, read, write
from tnlayers.pricing.counts import Cost

_GAIN = 0.9  # a route must promise this much of the rebuilt kernel's time: the estimate is rough


@lru_cache(maxsize=1024)
def plan_convolution(
    convolution: Convolution,
    batch: int,
    spatial: tuple[int, ...],
    rebuild: Cost,
    objective: Objective,
    dtype: str,
    device: str = "cpu",
    rates: Machine | None = None,
) -> ConvPlan:
    """The cheapest plan of a convolution: a route per network, or the rebuilt kernel applied once.

    Args:
        convolution: What is computed.
        batch: Images at once, at least 1.
        spatial: The input's size along each dimension.
        rebuild: Exact counts of rebuilding the kernel.
        objective: "forward", or "training" where gradients are wanted.
        dtype: For counting bytes.
        device: Whose rates rank the routes: "cpu", or "cuda" and the name of the GPU.
        rates: These rates, as they are now; looked up if None.

    Raises:
        TNLayersError: If the kernel does not fit into the padded input.
    """
    convolution.window.out_sizes(spatial)
    plan = ConvPlan(
        convolution=convolution,
        batch=batch,
        spatial=spatial,
        objective=objective,
        dtype=dtype,
        device=device,
        routes=(),
        rebuild=rebuild,
    )
    training, window = objective == "training", convolution.window
    named = (rates or machine(device, dtype), dtype, device)
    searches = [RouteSearch(kernel, window, batch, *named, training=training) for kernel in convolution.kernels]
    if not is_caching():
        return replace(plan, routes=_faster(searches, spatial, _GAIN * plan.rebuilt_seconds))
    file = cache_file("convolutions", replace(convolution, title=""), batch, spatial, rebuild, training, *named)
    try:
        orders = read(file)["orders"]
        found = [search.follow(spatial, order) for search, order in zip(searches, orders, strict=bool(orders))]
        return replace(plan, routes=tuple(found))
    except UNREADABLE:  # there is none yet, or it is damaged
        routes = _faster(searches, spatial, _GAIN * plan.rebuilt_seconds)
    with suppress(OSError):  # a folder that cannot be written to keeps nothing, and planning goes on without
        write(file, {"title": convolution.title, "orders": [[step.cores for step in route.steps] for route in routes]})
    return replace(plan, routes=routes)


def _faster(searches: Sequence[RouteSearch], spatial: tuple[int, ...], seconds: float) -> tuple[Route, ...]:
    """A route per network, or none where rebuilding the kernel is faster, which takes so many seconds."""
    routes = [search.run(spatial) for search in searches]
    found = tuple(route for route in routes if route is not None)
    return found if len(found) == len(routes) and sum(route.seconds for route in found) <= seconds else ()
