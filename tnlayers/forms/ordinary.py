"""Forms of the ordinary modules that stand between layers of cores, in the words of `torch.nn`, as they evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tnlayers.cores.convolve import convolve, pad_ahead
from tnlayers.declare.window import window
from tnlayers.errors import TNLayersError
from tnlayers.forms.activations import ACTIVATIONS
from tnlayers.forms.form import Form, Runtime, Shape
from tnlayers.program.program import Array

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Dense(Form):
    """A dense linear layer: weight (out_features, in_features)."""

    kind = "dense_linear"
    in_features: int
    out_features: int
    bias: bool = True

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """The weight, and the bias where there is one."""
        return {"weight": (self.out_features, self.in_features)} | ({"bias": (self.out_features,)} if self.bias else {})

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """Vectors (..., in_features) to (..., out_features)."""
        (x,) = self.arguments(inputs, options)
        return multiplied(at, x, arrays["weight"], arrays.get("bias"))


def multiplied(at: Runtime, x: Array, weight: Array, bias: Array | None) -> Array:
    """Vectors times a weight (out, in).

    Raises:
        TNLayersError: If the vectors have another size.
    """
    out, size = weight.shape
    if x.ndim < 1 or x.shape[-1] != size:
        raise TNLayersError(f"The input has shape {tuple(x.shape)}, but this layer takes vectors (..., {size}).")
    leading = tuple(x.shape[:-1])
    y = at.ops.matmul(at.ops.reshape(x, (prod(leading), size)), at.ops.permute(weight, (1, 0)))
    y = at.ops.reshape(y, (*leading, out))
    return y if bias is None else y + bias


@dataclass(frozen=True)
class DenseConvolution(Form):
    """A dense convolution of as many dimensions as the kernel has; the attributes are torch's."""

    kind = "dense_conv"
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int = 1
    padding_mode: str = "zeros"
    bias: bool = True

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """The kernel, and the bias where there is one."""
        kernel = {"weight": (self.out_channels, self.in_channels // self.groups, *self.kernel_size)}
        return kernel | ({"bias": (self.out_channels,)} if self.bias else {})

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """Images (batch, in_channels, *positions), or one without the batch."""
        (x,) = self.arguments(inputs, options)
        dims = len(self.kernel_size)
        if x.ndim == dims + 1:
            return self.apply(at, arrays, x[None])[0]
        if x.ndim != dims + 2 or x.shape[1] != self.in_channels:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this convolution takes (batch, {self.in_channels}, "
                f"*positions) with {dims} dimensions of positions."
            )
        moves = window(dims, self.kernel_size, self.stride, self.padding, self.dilation, self.padding_mode)
        moves.out_sizes(x.shape[2:])  # refuses an image below the kernel
        return convolve(at.ops, pad_ahead(at.ops, x, moves), arrays["weight"], arrays.get("bias"), moves, self.groups)


@dataclass(frozen=True)
class DenseEmbedding(Form):
    """A table (num_embeddings, embedding_dim); a row of padding is what the table has there."""

    kind = "dense_embedding"
    num_embeddings: int
    embedding_dim: int

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """The table."""
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """Ids (...) to rows (..., embedding_dim)."""
        (ids,) = self.arguments(inputs, options)
        flat = at.ops.check_ids(at.ops.reshape(ids, (-1,)), self.num_embeddings)
        return at.ops.reshape(at.ops.take(arrays["weight"], flat), (*ids.shape, self.embedding_dim))


@dataclass(frozen=True)
class BatchNorm(Form):
    """Batch normalisation by its running statistics, which are constants, over the second axis."""

    kind = "batch_norm"
    num_features: int
    eps: float = 1e-5
    affine: bool = True

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """Running statistics; weight and bias where there are any."""
        names = ("running_mean", "running_var", *(("weight", "bias") if self.affine else ()))
        return dict.fromkeys(names, (self.num_features,))

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """(batch, num_features, ...) to the same."""
        (x,) = self.arguments(inputs, options)
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this normalisation takes (batch, {self.num_features}, ...)."
            )
        shape = (1, self.num_features, *[1] * (x.ndim - 2))
        mean, variance = at.ops.constant(arrays["running_mean"]), at.ops.constant(arrays["running_var"])
        factor = (variance + self.eps) ** -0.5
        if self.affine:
            factor = factor * arrays["weight"]
        shift = -mean * factor + (arrays["bias"] if self.affine else 0)
        return x * at.ops.reshape(factor, shape) + at.ops.reshape(shift, shape)


@dataclass(frozen=True)
class LayerNorm(Form):
    """Layer normalisation over the last axes."""

    kind = "layer_norm"
    normalized_shape: tuple[int, ...]
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True

    @property
    def own_shapes(self) -> dict[str, Shape]:
        """Weight and bias, where there are any."""
        names = (*(("weight",) if self.affine else ()), *(("bias",) if self.affine and self.bias else ()))
        return dict.fromkeys(names, self.normalized_shape)

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """(..., *normalized_shape) to the same."""
        (x,) = self.arguments(inputs, options)
        n = len(self.normalized_shape)
        if tuple(x.shape[x.ndim - n :]) != self.normalized_shape:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this normalisation takes (..., {self.normalized_shape})."
            )
        leading = tuple(x.shape[: x.ndim - n])
        size = prod(self.normalized_shape)
        rows = at.ops.reshape(x, (*leading, size))
        last = (rows.ndim - 1,)
        rows = rows - at.ops.sum(rows, last)[..., None] / size
        rows = rows * (at.ops.sum(rows * rows, last)[..., None] / size + self.eps) ** -0.5
        y = at.ops.reshape(rows, tuple(x.shape))
        y = y * arrays["weight"] if self.affine else y
        return y + arrays["bias"] if "bias" in arrays else y


@dataclass(frozen=True)
class Elementwise(Form):
    """A function of each entry: one of `ACTIVATIONS`."""

    kind = "elementwise"
    function: str

    def __post_init__(self) -> None:
        if self.function not in ACTIVATIONS:
            raise TNLayersError(f"function={str(self.function)[:60]!r} is none of {', '.join(ACTIVATIONS)}.")

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """The function of an array."""
        (x,) = self.arguments(inputs, options)
        return ACTIVATIONS[self.function](at.ops, x)


@dataclass(frozen=True)
class Identity(Form):
    """What evaluates as nothing: identities, and dropouts."""

    kind = "identity"

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """The array itself."""
        (x,) = self.arguments(inputs, options)
        return x


@dataclass(frozen=True)
class Flatten(Form):
    """Neighbouring axes as one."""

    kind = "flatten"
    start_dim: int = 1
    end_dim: int = -1

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """As `torch.flatten`."""
        (x,) = self.arguments(inputs, options)
        first, last = self.start_dim % max(x.ndim, 1), self.end_dim % max(x.ndim, 1)
        merged = prod(x.shape[first : last + 1])
        return at.ops.reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


@dataclass(frozen=True)
class Pool(Form):
    """The largest entry or the mean under a window, of images (batch, channels, *positions) or without the batch.

    Attributes:
        reduction: "max" or "mean".
        kernel_size: Along each dimension.
        stride: Likewise.
        padding: Likewise, on both sides; means count the zeros there.
        dilation: Likewise.
    """

    kind = "pool"
    reduction: str
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """Pool."""
        (x,) = self.arguments(inputs, options)
        dims = len(self.kernel_size)
        if x.ndim == dims + 1:
            return self.apply(at, arrays, x[None])[0]
        if x.ndim != dims + 2:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this pooling takes (batch, channels, *positions) with "
                f"{dims} dimensions of positions."
            )
        window(dims, self.kernel_size, self.stride, self.padding, self.dilation).out_sizes(x.shape[2:])
        if any(self.padding):
            pads = [(n, n) for n in self.padding]
            inside = at.ops.surround(at.ops.zeros(tuple(x.shape), x) + 1, pads, "zeros")
            x = at.ops.surround(x, pads, "zeros")
            if self.reduction == "max":  # what is outside is no maximum
                x = at.ops.where(inside == 0, at.ops.zeros((), x) - float("inf"), x)
        settings = (self.kernel_size, self.stride, self.dilation)
        if self.reduction == "max":
            return at.ops.pool(x, *settings, "max")
        return at.ops.pool(x, *settings, "sum") / prod(self.kernel_size)


@dataclass(frozen=True)
class GlobalMean(Form):
    """The mean over all positions, which stay as axes of one entry: adaptive average pooling to 1."""

    kind = "global_mean"
    dims: int

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """(..., channels, *positions) to (..., channels, *ones)."""
        (x,) = self.arguments(inputs, options)
        kept = tuple(x.shape[: x.ndim - self.dims])
        axes = tuple(range(x.ndim - self.dims, x.ndim))
        total = at.ops.sum(x, axes) / prod(x.shape[x.ndim - self.dims :])
        return at.ops.reshape(total, (*kept, *[1] * self.dims))
