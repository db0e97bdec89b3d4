"""Prices: flops and predicted time of a weight as a network, beside the dense one, at the sizes that it works at."""

from __future__ import annotations

from dataclasses import dataclass

from tnlayers_backends.torch.layers.conv import TNConv
from tnlayers_backends.torch.layers.embedding import TNEmbedding
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.sequence import carried_seconds, dense_seconds, rates_of, rebuilding_seconds
from tnlayers_backends.torch.modules.hosts import itemsize
from torch import nn

from tnlayers.compress.modules.site import Site
from tnlayers.declare.window import window
from tnlayers.machine.rates import Machine
from tnlayers.planning.conv_plan import Convolution, ConvPlan
from tnlayers.pricing.counts import NOTHING, Cost, dense_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much a weight is given at once.

    Attributes:
        count: Vectors or ids; of a convolution, images.
        spatial: The images' size, or the steps of a recurrent layer's sequences; empty where it is not known.
    """

    count: int
    spatial: tuple[int, ...] = ()


def flops(site: Site, layer: TNModule | None, work: Work) -> int | None:
    """Flops of a forward pass; of the dense weight where there is no layer. None for images of unknown size."""
    cost = _cost(site, layer, work)
    return None if cost is None else cost.flops


def time_ratio(site: Site, layer: TNModule, work: Work) -> float | None:
    """Predicted seconds of the layer over those of the dense weight; None where one of them has no prediction."""
    rates = rates_of(layer)
    if isinstance(layer, TNLinear) and isinstance(site.host, nn.RNNBase):
        calls, rows = _calls(site, work)
        dense = dense_seconds(layer.in_features, layer.out_features, calls, rows, rates)
        return min(carried_seconds(layer, calls, rows), dense + rebuilding_seconds(layer)) / dense
    if isinstance(layer, TNLinear):
        batch = work.count
        dense = rates.product((1, batch, layer.in_features, layer.out_features)) + rates.seconds_per_call
        moved = dense_cost(layer.in_features, layer.out_features, batch, itemsize(site.weight)).bytes
        return layer.plan_for(batch, "forward").seconds / (dense + moved / rates.bytes_per_second)
    ours, theirs = _cost(site, layer, work), _cost(site, None, work)
    if not isinstance(layer, TNConv) or ours is None or theirs is None:
        return None  # rows of an embedding are copied, not computed
    plan = layer.plan_for((work.count, layer.in_channels, *work.spatial))
    steps = sum(len(route.steps) for route in plan.routes) if isinstance(plan, ConvPlan) else 1
    return _seconds(rates, ours, max(steps, 1)) / _seconds(rates, theirs, 1)


def _seconds(rates: Machine, cost: Cost, calls: int) -> float:
    moved = cost.bytes / rates.bytes_per_second + cost.copied / rates.permuted_bytes_per_second
    return cost.flops / rates.flops_per_second + moved + calls * rates.seconds_per_call


def _cost(site: Site, layer: TNModule | None, work: Work) -> Cost | None:
    dense = site.dense
    if isinstance(dense, nn.Linear):
        full = dense_cost(dense.in_features, dense.out_features, work.count, itemsize(site.weight))
        if isinstance(layer, TNLinear) and isinstance(site.host, nn.RNNBase):
            return _recurrent_cost(site, layer, work, full)
        return layer.plan_for(work.count, "forward").cost if isinstance(layer, TNLinear) else full
    if isinstance(dense, nn.Embedding):
        plans = layer.plan_for(work.count) if isinstance(layer, TNEmbedding) else ()
        return sum((plan.cost for plan in plans), NOTHING)  # rows of a dense table are copied, not computed
    if not work.spatial:
        return None
    assert isinstance(dense, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if isinstance(layer, TNConv):
        return layer.plan_for((work.count, dense.in_channels, *work.spatial)).cost
    return _conv_cost(dense, work, itemsize(site.weight))


def _calls(site: Site, work: Work) -> tuple[int, int]:
    """Of a weight in a recurrent layer: how often it is called for a sequence, and with how many rows."""
    steps = 1 if site.part.startswith("ih") else max((*work.spatial, 1))
    return steps, max(work.count // steps, 1)


def _recurrent_cost(site: Site, layer: TNLinear, work: Work, dense: Cost) -> Cost:
    """The cost of a weight in a recurrent layer, carried through its cores or rebuilt once, what is faster."""
    calls, rows = _calls(site, work)
    once = dense_seconds(layer.in_features, layer.out_features, calls, rows, rates_of(layer))
    if carried_seconds(layer, calls, rows) < once + rebuilding_seconds(layer):
        return sum((layer.plan_for(rows, "forward").cost for _ in range(calls)), NOTHING)
    weights = (layer._map.weight_plan(term).cost for term in range(len(layer._map.graphs)))
    return sum(weights, dense)


def _conv_cost(dense: nn.Conv1d | nn.Conv2d | nn.Conv3d, work: Work, size: int) -> Cost:
    """The cost of the dense convolution."""
    settings = (dense.kernel_size, dense.stride, dense.padding, dense.dilation, dense.padding_mode)
    moves = window(len(dense.kernel_size), *settings)
    sizes = {"in_channels": dense.in_channels, "out_channels": dense.out_channels, "groups": dense.groups}
    return Convolution(kernels=(), window=moves, title="", **sizes).dense(work.count, work.spatial, size)
