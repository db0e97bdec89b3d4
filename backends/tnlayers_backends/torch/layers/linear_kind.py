"""Linear layers as a kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from tnlayers.declare.spec import Spec
from tnlayers.pricing.counts import Cost, dense_cost
from tnlayers_backends.torch.layers.kind import LayerKind, Work, rates_of
from tnlayers_backends.torch.layers.linear import MPOLinear, TNLinear, from_spec
from tnlayers_backends.torch.layers.moments import linear_moment, wide


class LinearKind(LayerKind):
    """Vectors times a matrix."""

    def build(self, spec: Spec, **keywords: Any) -> TNLinear:
        return from_spec(spec, **keywords)

    def from_dense(self, dense: nn.Linear, network: str | Spec, **asked: Any) -> TNLinear:
        return TNLinear.from_linear(dense, network, **asked)

    def to_dense(self, layer: TNLinear) -> nn.Linear:
        return layer.to_linear()

    def moment(self, dense: nn.Linear, given: Tensor) -> Tensor:
        return linear_moment(given, dense.in_features)

    def pairs(self, layer: TNLinear, given: Tensor, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The vectors as they are."""
        spec = layer.spec
        yield wide(given).reshape(1, -1, spec.in_features), wide(outputs).reshape(1, -1, spec.out_features)

    def cost(self, layer: TNLinear, work: Work) -> Cost:
        return layer.plan_for(work.count, "forward").cost

    def dense_cost(self, dense: nn.Linear, work: Work) -> Cost:
        return dense_cost(dense.in_features, dense.out_features, work.count, dense.weight.itemsize)

    def time_ratio(self, layer: TNLinear, dense: nn.Linear, work: Work) -> float:
        rates = rates_of(layer)
        product = rates.product((1, work.count, dense.in_features, dense.out_features)) + rates.seconds_per_call
        moved = self.dense_cost(dense, work).bytes / rates.bytes_per_second
        return layer.plan_for(work.count, "forward").seconds / (product + moved)


LINEAR = LinearKind(
    classes=(TNLinear, MPOLinear),
    replaces=nn.Linear,
    sizes=("in_features", "out_features"),
    searched=True,
    ordered=True,
)
