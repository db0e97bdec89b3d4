"""Forms of layers whose weight is one tensor network: linear, tensor-linear and bilinear maps.

Their keywords are those of torch's layers, which files keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

from tnlayers.cores.initialise import default_variance
from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.pairs import PairMap
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Form, Runtime, Shape
from tnlayers.program.program import Array, Primitives

Order = tuple[int, ...]
ORDERS = ("in_order", "out_place")  # of features, as a search found them


@dataclass(frozen=True)
class Networked(Form):
    """A layer of one network; abstract.

    Attributes:
        map: The network as a linear map.
    """

    map: LinearMap

    @property
    def spec(self) -> Spec:
        """The declaration."""
        return self.map.spec

    @property
    def keywords(self) -> dict[str, Any]:
        """What the kind needs beside the network."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init and one.name != "map"}

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """Cores by name, and the bias."""
        return dict(self.map.shapes) | ({"bias": (self.spec.out_features,)} if self.spec.bias else {})

    @property
    def variance(self) -> float:
        """What E[W^2] of a fresh layer is."""
        return default_variance(self.spec.in_features)

    def cores(self, arrays: Mapping[str, Array]) -> list[Array]:
        """The cores in order of declaration."""
        return [arrays[name] for name in self.map.shapes]

    def weight(self, ops: Primitives, cores: Sequence[Array]) -> Array:
        """The dense weight in the shape that torch's module has."""
        return self.map.weight(ops, cores)


@dataclass(frozen=True)
class Linear(Networked):
    """Vectors (..., in_features) to (..., out_features).

    Attributes:
        in_order: Which input feature the network reads at each place; () where all stand as they are.
        out_place: Where each output feature is in what the network writes; likewise.
    """

    kind = "linear"
    in_order: Order = ()
    out_place: Order = ()

    @property
    def keywords(self) -> dict[str, Any]:
        """Without the orders, which files keep as arrays."""
        return {name: value for name, value in super().keywords.items() if name not in ORDERS}

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Multiply by the weight."""
        (x,) = self.arguments(inputs, options)
        self.map.check(x)
        y = at.linear(self.map, _reordered(at, x, self.in_order), self.cores(arrays))
        y = _reordered(at, y, self.out_place)
        return y + arrays["bias"] if self.spec.bias else y

    def weight(self, ops: Any, cores: Sequence[Array]) -> Array:
        """(out_features, in_features), features in their usual order."""
        w = super().weight(ops, cores)
        if self.out_place:
            w = w[list(self.out_place)]
        if self.in_order:
            w = w[:, sorted(range(len(self.in_order)), key=self.in_order.__getitem__)]
        return w


def _reordered(at: Runtime, x: Array, order: Order) -> Array:
    return x[..., at.ops.numbers(order, x)] if order else x


@dataclass(frozen=True)
class TensorLinear(Linear):
    """Tensors (..., *in_shape) to (..., *out_shape)."""

    kind = "tensor_linear"
    in_shape: tuple[int, ...] = ()
    out_shape: tuple[int, ...] = ()

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Multiply flattened tensors by the weight."""
        (x,) = self.arguments(inputs, options)
        order = len(self.in_shape)
        leading = tuple(x.shape[: x.ndim - order])
        if x.ndim < order or tuple(x.shape[x.ndim - order :]) != self.in_shape:
            axes = ", ".join(map(str, self.in_shape))
            raise TNLayersError(f"The input has shape {tuple(x.shape)}, but this layer takes (..., {axes}).")
        flat = at.ops.reshape(x, (*leading, prod(self.in_shape)))
        return at.ops.reshape(super().apply(at, arrays, flat), (*leading, *self.out_shape))


@dataclass(frozen=True)
class Bilinear(Networked):
    """Pairs of vectors (..., in1_features) and (..., in2_features) to (..., out_features)."""

    kind = "bilinear"
    takes = ("input1", "input2")
    in1_features: int = 0
    in2_features: int = 0
    _pairs: PairMap = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pairs", PairMap(self.map, self.in1_features, self.in2_features))

    @property
    def variance(self) -> float:
        """As torch's: of its first input's size."""
        return 1 / (3 * self.in1_features)

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Both vectors through the cores in one contraction."""
        first, second = self.arguments(inputs, options)
        leading, ends = tuple(first.shape[:-1]), (first.shape[-1:], second.shape[-1:])
        if leading != tuple(second.shape[:-1]) or ends != ((self.in1_features,), (self.in2_features,)):
            raise TNLayersError(
                f"The inputs have shapes {tuple(first.shape)} and {tuple(second.shape)}, but this layer takes (..., "
                f"{self.in1_features}) and (..., {self.in2_features}) with equal leading axes."
            )
        a = at.ops.reshape(first, (prod(leading), self.in1_features))
        b = at.ops.reshape(second, (prod(leading), self.in2_features))
        plans = self._pairs.plans_for(at.count(leading), at.objective)

        def linear(products: Array, cores: Sequence[Array]) -> Array:
            return at.linear(self.map, products, cores)

        y = self._pairs.apply(at.ops, a, b, self.cores(arrays), plans, linear)
        y = at.ops.reshape(y, (*leading, self.spec.out_features))
        return y + arrays["bias"] if self.spec.bias else y

    def weight(self, ops: Primitives, cores: Sequence[Array]) -> Array:
        """(out_features, in1_features, in2_features)."""
        return ops.reshape(super().weight(ops, cores), (self.spec.out_features, self.in1_features, self.in2_features))
