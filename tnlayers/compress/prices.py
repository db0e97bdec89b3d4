"""Prices: flops and predicted time of a weight as a network, beside the dense one, at the sizes that it works at."""

from __future__ import annotations

from tnlayers_backends.torch.layers.kind import Work, rates_of
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.sequence import carried_seconds, dense_seconds, rebuilding_seconds
from tnlayers_backends.torch.modules.hosts import host_of

from tnlayers.compress.modules.site import Site
from tnlayers.pricing.counts import NOTHING, Cost


def flops(site: Site, layer: TNModule | None, work: Work) -> int | None:
    """Flops of a forward pass; of the dense weight where there is no layer. None for images of unknown size."""
    if layer is None:
        cost = site.kind.dense_cost(site.dense, work)
    elif calls := host_of(site.host).calls(site.part, work):
        cost = _repeated_cost(site, layer, work, *calls)
    else:
        cost = site.kind.cost(layer, work)
    return None if cost is None else cost.flops


def time_ratio(site: Site, layer: TNModule, work: Work) -> float | None:
    """Predicted seconds of the layer over those of the dense weight; None where one of them has no prediction."""
    calls = host_of(site.host).calls(site.part, work)
    if calls is None:
        return site.kind.time_ratio(layer, site.dense, work)
    assert isinstance(layer, TNLinear)
    dense = dense_seconds(layer.in_features, layer.out_features, *calls, rates_of(layer))
    return min(carried_seconds(layer, *calls), dense + rebuilding_seconds(layer)) / dense


def _repeated_cost(site: Site, layer: TNModule, work: Work, calls: int, rows: int) -> Cost | None:
    """The cost of a weight in a recurrent layer, by its cores or rebuilt once, what is faster."""
    assert isinstance(layer, TNLinear)
    once = dense_seconds(layer.in_features, layer.out_features, calls, rows, rates_of(layer))
    if carried_seconds(layer, calls, rows) < once + rebuilding_seconds(layer):
        return sum((layer.plan_for(rows, "forward").cost for _ in range(calls)), NOTHING)
    weights = (layer._map.weight_plan(term).cost for term in range(len(layer._map.graphs)))
    return sum(weights, site.kind.dense_cost(site.dense, work) or NOTHING)
