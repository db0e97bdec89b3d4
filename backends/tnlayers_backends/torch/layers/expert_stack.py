"""A stack of experts' weights as networks: one network for each expert, or one for all with the expert as an index.

It replaces a mixture of experts' parameter of three axes, `gate_up_proj[expert]`, and gives for an expert
what a product with a vector takes: `F.linear(x, stack[e])` and `x @ stack[e]` contract x with the cores; every other
function gets the dense weight of that expert, rebuilt. Of one network for all, the output index that counts experts is
fixed in the cores that hold it, so one expert is a network of the same form with fewer outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.cores import TRACED_BATCH
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.run import planned
from tnlayers_backends.torch.run.primitives import OPS

ALL = "all"  # the child that is one network for all experts
_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)


class StackedLinear(nn.Linear):
    """The weights of all experts below each other, (experts * out, in): what one network for all is made of."""

    experts: int


class ExpertStack(nn.Module):
    """The weights of experts, some or all of them networks.

    Args:
        experts: How many.
        turned: Whether the model holds each weight as (in_features, out_features).
        weights: A linear layer for each expert by its number, or one `TNLinear` for all under "all".
    """

    def __init__(self, experts: int, turned: bool, weights: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.experts, self.turned = experts, turned
        self._one: LinearMap | None = None
        for name, weight in weights.items():
            self.add_module(name, weight)

    def __len__(self) -> int:
        return self.experts

    def __getitem__(self, expert: int | Tensor) -> ExpertWeight:
        """The weight of one expert."""
        number = int(expert)
        if not -self.experts <= number < self.experts:
            raise IndexError(f"expert {number} of {self.experts}")
        return ExpertWeight(self, number % self.experts)

    @property
    def shape(self) -> torch.Size:
        """As the parameter had it."""
        layer: Any = self._modules.get(ALL) or self._modules["0"]
        sizes = (layer.in_features, layer.out_features // (self.experts if ALL in self._modules else 1))
        return torch.Size((self.experts, *(sizes if self.turned else sizes[::-1])))

    def to_dense(self) -> Tensor:
        """The parameter that it replaces, of three axes; differentiable."""
        return torch.stack([self.dense(expert) for expert in range(self.experts)])

    def dense(self, expert: int) -> Tensor:
        """The dense weight of one expert, as the model holds it; differentiable."""
        if ALL in self._modules:
            outputs = self.shape[-1 if self.turned else -2]
            weight = self._whole().to_dense()[expert * outputs : (expert + 1) * outputs]
        else:
            layer: Any = self._modules[str(expert)]
            weight = layer.to_dense() if isinstance(layer, TNLinear) else layer.weight
        return weight.mT if self.turned else weight

    def apply_to(self, x: Tensor, expert: int) -> Tensor:
        """Vectors (..., in_features) times the weight of one expert."""
        if ALL not in self._modules:
            layer: Any = self._modules[str(expert)]
            return layer(x)  # type: ignore[no-any-return]
        whole = self._whole()
        cut = _cut(whole, self.experts)
        if cut is None:  # no core has an index of the experts alone
            weight = self.dense(expert)
            return functional.linear(x, weight.mT if self.turned else weight)
        cores = [
            core.narrow(axis, *cut.range(index, expert)) if axis is not None else core
            for core, (axis, index) in zip(whole._cores(), cut.axes, strict=True)
        ]
        if self._one is None or self._one.device != whole._map.device:
            self._one = LinearMap(cut.spec(whole), whole._map.dtype, device=whole._map.device, buckets=(TRACED_BATCH,))
        one = self._one
        batch = TRACED_BATCH if is_recorded(x) else x.numel() // max(x.shape[-1], 1)
        plan = one.plan_for(batch, "training" if torch.is_grad_enabled() and not is_recorded(x) else "forward")
        return one.apply(OPS, x, cores, plan, planned.run)  # type: ignore[no-any-return]

    def _whole(self) -> TNLinear:
        whole = self._modules[ALL]
        assert isinstance(whole, TNLinear)
        return whole

    def extra_repr(self) -> str:
        """Its shape."""
        return f"shape={tuple(self.shape)}"


class ExpertWeight:
    """The weight of one expert of a stack, as functions of torch take it."""

    def __init__(self, stack: ExpertStack, expert: int) -> None:
        self.stack, self.expert = stack, expert

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Contract a product with the cores; give everything else the dense weight."""
        more = dict(kwargs or {})
        second = args[1] if len(args) > 1 else None
        if isinstance(second, cls) and isinstance(args[0], Tensor) and args[0].ndim:
            if func is functional.linear and not second.stack.turned:
                y = second.stack.apply_to(args[0], second.expert)
                bias = args[2] if len(args) > 2 else more.get("bias")
                return y if bias is None else y + bias
            if func in _PRODUCTS and second.stack.turned and not more:
                return second.stack.apply_to(args[0], second.expert)
        plain = [one.dense() if isinstance(one, cls) else one for one in args]
        return func(*plain, **{key: one.dense() if isinstance(one, cls) else one for key, one in more.items()})

    def dense(self) -> Tensor:
        """The weight itself."""
        return self.stack.dense(self.expert)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a tensor is asked of the dense weight."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dense(), name)

    def __rmatmul__(self, x: Tensor) -> Tensor:
        return x @ self.dense()


class _Cut:
    """Where the experts stand in a network's outputs: whole indices, then a part of one."""

    def __init__(self, graph: Graph, whole: tuple[int, ...], last: int, parts: int) -> None:
        self.graph, self.whole, self.last, self.parts = graph, whole, last, parts
        known = {*whole, last}
        self.axes = [
            next(((axis, i) for axis, i in enumerate(core.indices) if i in known), (None, -1)) for core in graph.cores
        ]

    def range(self, index: int, expert: int) -> tuple[int, int]:
        """Where the values of an index that belong to an expert begin, and how many they are."""
        length = self.graph.sizes[self.last] // self.parts
        if index == self.last:
            return expert % self.parts * length, length
        after = self.whole[self.whole.index(index) + 1 :]
        step = self.parts * prod(self.graph.sizes[i] for i in after)
        return expert // step % self.graph.sizes[index], 1

    def spec(self, layer: TNLinear) -> Any:
        """The declaration of one expert's network."""
        sizes = list(self.graph.sizes)
        for index in self.whole:
            sizes[index] = 1
        sizes[self.last] //= self.parts
        graph = replace(self.graph, sizes=tuple(sizes))
        return replace(layer.spec, bias=False, out_modes=graph.out_modes, lowered=(graph,))


def _cut(layer: TNLinear, experts: int) -> _Cut | None:
    """How the outputs of one expert are cut out of the cores; None where that takes more than one index of a core."""
    spec = layer.spec
    if spec.terms or spec.pad_out or layer.in_order is not None or layer.out_place is not None:
        return None
    (graph,) = layer._map.graphs
    whole: list[int] = []
    left = experts
    for index in graph.outputs:
        size = graph.sizes[index]
        if left < size or left % size:
            if size % left:
                return None
            known = [*whole, index]
            cores = [sum(i in core.indices for i in known) for core in graph.cores]
            places = [sum(core.indices.count(i) for core in graph.cores) for i in known]
            if max(cores) > 1 or max(places) > 1 or set(known) & set(graph.inputs):
                return None
            return _Cut(graph, tuple(whole), index, left)
        whole.append(index)
        left //= size
    return None


def stack_of(experts: int, turned: bool, weights: Mapping[str, nn.Module]) -> ExpertStack:
    """A stack of what was made of a model's experts.

    Raises:
        TNLayersError: If neither all experts have a weight, nor one network is for all.
    """
    if ALL in weights:
        return ExpertStack(experts, turned, {ALL: weights[ALL]})
    names = [str(expert) for expert in range(experts)]
    if set(weights) != set(names):
        raise TNLayersError(f"A stack of {experts} experts needs a weight for each, got {', '.join(weights)[:200]}.")
    return ExpertStack(experts, turned, {name: weights[name] for name in names})
