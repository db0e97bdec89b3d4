"""Forms of convolutions whose kernel is a tensor network, of 1 to 3 dimensions, in both views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from tnlayers.cores.conv_map import ConvMap
from tnlayers.cores.convolve import convolve, flattened, kernels, pad_ahead, run_routes, shaped, unflattened
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.window import Window, window
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Runtime
from tnlayers.forms.networked import Networked
from tnlayers.program.program import Array


@dataclass(frozen=True)
class Convolution(Networked):
    """Images (batch, in_channels, *positions), or one without the batch; the attributes are torch's. Abstract."""

    dims: ClassVar[int]
    in_channels: int = 0
    out_channels: int = 0
    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    padding_mode: str = "zeros"
    view: str = "kernel"
    in_size: tuple[int, ...] | None = None
    _window: Window = field(init=False, compare=False, repr=False)
    _conv: ConvMap | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        settings = (self.kernel_size, self.stride, self.padding, self.dilation, self.padding_mode)
        moves = window(self.dims, *settings)
        object.__setattr__(self, "_window", moves)
        conv = ConvMap(self.map, moves, *self._channels) if self.view == "kernel" else None
        object.__setattr__(self, "_conv", conv)

    @property
    def _channels(self) -> tuple[int, int, int]:
        return self.in_channels, self.out_channels, self.groups

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Convolve."""
        (x,) = self.arguments(inputs, options)
        if x.ndim == self.dims + 1:
            return self.apply(at, arrays, x[None])[0]
        self._check(x)
        bias = arrays.get("bias")
        if self._conv is None:
            y = at.linear(self.map, flattened(at.ops, x), self.cores(arrays))
            y = y if bias is None else y + bias
            return unflattened(at.ops, y, self._window.out_sizes(self.in_size or ()), self.out_channels)
        self._window.out_sizes(x.shape[2:])  # refuses an image below the kernel
        cores = self.cores(arrays)
        matrix = at.placed(self.map, cores)
        conv = self._conv if matrix is self.map else _elsewhere(matrix, self._window, *self._channels)
        plan = conv.plan_for(at.count((x.shape[0],)), tuple(x.shape[2:]), at.objective)
        x = pad_ahead(at.ops, x, self._window)
        if not plan.routes:
            return convolve(at.ops, x, self.weight(at.ops, cores), bias, self._window, self.groups)
        made = kernels(at.ops, plan, list(self.map.split(cores)))
        y = run_routes(at.ops, plan, x, made)
        return y if bias is None else y + at.ops.reshape(bias, (-1, *[1] * self.dims))

    def weight(self, ops: Any, cores: Sequence[Array]) -> Array:
        """(out_channels, in_channels / groups, *kernel_size); in view "flat" the matrix."""
        matrix = super().weight(ops, cores)
        return matrix if self._conv is None else shaped(ops, matrix, self.kernel_size)

    def _check(self, x: Array) -> None:
        fits = x.ndim == self.dims + 2 and x.shape[1] == self.in_channels
        if not fits or (self.in_size is not None and tuple(x.shape[2:]) != self.in_size):
            sizes = "any size" if self.in_size is None else f"size {'x'.join(map(str, self.in_size))} (view 'flat')"
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this layer takes (batch, {self.in_channels}, *positions) "
                f"or ({self.in_channels}, *positions) with {self.dims} dimensions of positions, of {sizes}."
            )


@lru_cache(maxsize=256)
def _elsewhere(matrix: LinearMap, moves: Window, in_channels: int, out_channels: int, groups: int) -> ConvMap:
    """The plans of a kernel whose map is of another dtype or device than the form's: made once for equal ones."""
    return ConvMap(matrix, moves, in_channels, out_channels, groups)


class Convolution1d(Convolution):
    """One dimension."""

    kind, dims = "conv1d", 1


class Convolution2d(Convolution):
    """Two dimensions."""

    kind, dims = "conv2d", 2


class Convolution3d(Convolution):
    """Three dimensions."""

    kind, dims = "conv3d", 3


CONVOLUTIONS = {one.dims: one for one in (Convolution1d, Convolution2d, Convolution3d)}
