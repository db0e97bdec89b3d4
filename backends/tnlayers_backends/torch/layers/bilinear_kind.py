"""Bilinear layers as a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tnlayers.cores.pairs import pair_spec
from tnlayers.declare.spec import Spec
from tnlayers.pricing.counts import NOTHING, Cost, dense_cost
from tnlayers_backends.torch.layers.bilinear import Pair, TNBilinear, pair_moment, products
from tnlayers_backends.torch.layers.kind import LayerKind, Work, rates_of
from tnlayers_backends.torch.layers.moments import wide


class BilinearKind(LayerKind):
    """Outer products of two vectors times a matrix."""

    def build(self, spec: Spec, **keywords: Any) -> TNBilinear:
        return TNBilinear(out_features=spec.out_features, bias=spec.bias, network=spec, **keywords)

    def from_dense(self, dense: nn.Bilinear, network: str | Spec, **asked: Any) -> TNBilinear:
        return TNBilinear.from_bilinear(dense, network, **asked)

    def to_dense(self, layer: TNBilinear) -> nn.Bilinear:
        return layer.to_bilinear()

    def template(self, network: str | Spec, dense: nn.Bilinear) -> Spec:
        """Modes of the first input, then of the second."""
        return pair_spec(network, dense.in1_features, dense.in2_features, dense.out_features)

    def given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Pair | None:
        """Both inputs."""
        pair = (*args, *(kwargs[name] for name in ("input1", "input2")[len(args) :] if name in kwargs))
        return (pair[0], pair[1]) if len(pair) == 2 and all(isinstance(one, Tensor) for one in pair) else None

    def work(self, dense: nn.Bilinear, given: Pair) -> Work:
        return Work(count=given[0].numel() // max(given[0].shape[-1], 1))

    def moment(self, dense: nn.Bilinear, given: Pair) -> Tensor:
        """Of the outer products."""
        return pair_moment(given, dense.in1_features * dense.in2_features)

    def pairs(self, layer: TNBilinear, given: Pair, outputs: Tensor) -> Iterator[Pair]:
        """The outer products."""
        y, done = wide(outputs).reshape(-1, layer.out_features), 0
        for x in products(*given):
            yield x[None], y[None, done : done + len(x)]
            done += len(x)

    def cost(self, layer: TNBilinear, work: Work) -> Cost:
        return sum((plan.cost for plan in layer.plan_for(work.count)), NOTHING)

    def dense_cost(self, dense: nn.Bilinear, work: Work) -> Cost:
        """The first input times the weight, then with the second."""
        wide_out, size = dense.in2_features * dense.out_features, dense.weight.itemsize
        first = dense_cost(dense.in1_features, wide_out, work.count, size)
        return first + replace(NOTHING, flops=2 * work.count * wide_out)

    def time_ratio(self, layer: TNBilinear, dense: nn.Bilinear, work: Work) -> float:
        rates, cost = rates_of(layer), self.dense_cost(dense, work)
        product = rates.product((1, work.count, dense.in1_features, dense.in2_features * dense.out_features))
        theirs = product + rates.seconds_per_call + cost.bytes / rates.bytes_per_second
        return sum(plan.seconds for plan in layer.plan_for(work.count)) / theirs


BILINEAR = BilinearKind(
    classes=(TNBilinear,),
    replaces=nn.Bilinear,
    keywords=("in1_features", "in2_features"),
    sizes=("in1_features", "in2_features", "out_features"),
)
