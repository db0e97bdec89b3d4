"""Linear layers as a kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tnlayers.declare.modes import factorise
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.pricing.counts import Cost, dense_cost
from tnlayers_backends.torch.layers.expert_stack import StackedLinear
from tnlayers_backends.torch.layers.kind import LayerKind, Work, rates_of
from tnlayers_backends.torch.layers.linear import MPOLinear, TNLinear, from_spec
from tnlayers_backends.torch.layers.moments import linear_moment, wide


class LinearKind(LayerKind):
    """Vectors times a matrix."""

    def build(self, spec: Spec, **keywords: Any) -> TNLinear:
        return from_spec(spec, **keywords)

    def from_dense(self, dense: nn.Linear, network: str | Spec, **asked: Any) -> TNLinear:
        return TNLinear.from_linear(dense, self.template(network, dense), **asked)

    def template(self, network: str | Spec, dense: nn.Module) -> str | Spec:
        """Of the weights of several experts, one mode for the experts, then those of one weight."""
        template = make_spec(network)
        if not isinstance(dense, StackedLinear) or template.sized or template.terms or template.in_modes is not None:
            return network
        cores = template.cores or network_type(template.network).cores
        if cores < 2:
            return network
        sizes = dense.in_features, dense.out_features // dense.experts
        ins, outs = (factorise(size, cores, pad=False) for size in sizes)
        try:
            return make_spec(replace(template, cores=None), in_modes=(1, *ins), out_modes=(dense.experts, *outs))
        except TNLayersError:  # a type whose modes follow a law of their own
            return network

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
