"""Least squares of a layer's cores against the outputs of the dense layer that it stands for.

With the second moments C = E[x x^T] of the layer's inputs and B = E[y x^T] with the outputs y that are wanted,

    E ||W x - y||^2  =  tr W C W^T  -  2 tr W B^T  +  E ||y||^2

is a quadratic form in every single core. Moments are added up batch by batch, so no activations are kept; the bias is
eliminated exactly (both moments are centred). One core after the other is solved by conjugate gradients from where it
is, which lower the error at every step and need nothing but the weight rebuilt: any network type, no normal matrix.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tnlayers.window import window
from tnlayers_backends.torch.conv import TNConv
from tnlayers_backends.torch.linear import TNLinear
from tnlayers_backends.torch.module import TNModule
from tnlayers_backends.torch.moments import conv_patches
from tnlayers_backends.torch.ops import OPS
from tnlayers_backends.torch.orders import unordered

_STEPS = 30  # of conjugate gradients per core and sweep: the next sweep goes on from there
_SMALL = 1e-12  # of the first residual, squared: solved


@dataclass(eq=False)
class Moments:
    """Sums over pairs of an input vector and the output that is wanted for it, in double precision."""

    count: int = 0
    x: Tensor | None = None
    y: Tensor | None = None
    xx: Tensor | None = None
    yx: Tensor | None = None
    yy: float = 0.0

    @torch.no_grad()
    def add(self, layer: TNModule, inputs: Tensor, outputs: Tensor) -> None:
        """Add a batch.

        Args:
            layer: Which the inputs go into.
            inputs: As its forward takes them.
            outputs: As its forward should give them.
        """
        x, y = _rows(layer, inputs.detach()), _columns_last(layer, outputs.detach())
        sums = (x.sum(0), y.sum(0), x.mT @ x, y.mT @ x)
        if self.x is None:
            self.x, self.y, self.xx, self.yx = sums
        else:
            for own, more in zip((self.x, self.y, self.xx, self.yx), sums, strict=True):
                cast("Tensor", own).add_(more)
        self.yy += float(y.square().sum())
        self.count += len(x)


def fits(layer: nn.Module) -> bool:
    """Whether a layer's outputs are a matrix times its inputs, as here: linear, or a convolution of one group."""
    return isinstance(layer, TNLinear) or (isinstance(layer, TNConv) and layer.view == "kernel" and layer.groups == 1)


@torch.no_grad()
def solve_cores(layer: TNModule, moments: Moments, sweeps: int, fixed: Collection[str] = ()) -> tuple[float, float]:
    """Fit the cores and the bias of a layer, in place.

    Args:
        layer: One that `fits`.
        moments: Of its inputs and the outputs that are wanted.
        sweeps: How often every core is solved for.
        fixed: Names of cores that stay.

    Returns:
        The error of the outputs, relative to their norm, before and after; after is never larger (up to rounding).
    """
    sums, n = (moments.x, moments.y, moments.xx, moments.yx), moments.count
    mean_x, mean_y, xx, yx = (cast("Tensor", total) / n for total in sums)
    yy = moments.yy / n
    cores = {name: core.detach().double() for name, core in layer.cores.items()}
    bias = None if layer.bias is None else layer.bias.detach().double()

    def error(bias: Tensor | None) -> float:
        w = _weight(layer, cores)
        wrong = float((w @ xx * w).sum() - 2 * (w * yx).sum()) + yy
        if bias is not None:
            wrong += float(bias @ bias + 2 * bias @ (w @ mean_x) - 2 * bias @ mean_y)
        return (max(wrong, 0.0) / yy) ** 0.5 if yy else 0.0

    before = error(bias)
    if bias is None:
        centred, mixed = xx, yx
    else:
        centred, mixed = xx - torch.outer(mean_x, mean_x), yx - torch.outer(mean_y, mean_x)
    for _ in range(sweeps):
        for name in cores:
            if name not in fixed:
                cores[name] = _solved(layer, cores, name, centred, mixed)
    if bias is not None:
        bias = mean_y - _weight(layer, cores) @ mean_x
        cast("nn.Parameter", layer.bias).copy_(bias)
    for name, core in layer.cores.items():
        core.copy_(cores[name])
    return before, error(bias)


def _solved(layer: TNModule, cores: dict[str, Tensor], name: str, xx: Tensor, yx: Tensor) -> Tensor:
    """One core after some steps of conjugate gradients on the quadratic form in it."""

    def product(core: Tensor, mixed: Tensor | None) -> Tensor:
        """The form's matrix times a core, less the linear part where it is given: half the gradient."""
        with torch.enable_grad():
            core = core.detach().requires_grad_()
            w = _weight(layer, {**cores, name: core})
            towards = w.detach() @ xx if mixed is None else w.detach() @ xx - mixed
            return torch.autograd.grad(w, core, towards)[0]

    core = cores[name]
    residual = -product(core, yx)
    direction, square = residual, float(residual.square().sum())
    first = square
    for _ in range(min(_STEPS, core.numel())):
        if square <= _SMALL * first:
            break
        image = product(direction, None)
        curvature = float((direction * image).sum())
        if curvature <= 0:  # inputs that this direction of the core never meets
            break
        core = core + square / curvature * direction
        residual = residual - square / curvature * image
        last, square = square, float(residual.square().sum())
        direction = residual + square / last * direction
    return core


def _weight(layer: TNModule, cores: dict[str, Tensor]) -> Tensor:
    matrix: Tensor = layer._map.weight(OPS, list(cores.values()))
    return unordered(matrix, layer.in_order, layer.out_place)


def _rows(layer: TNModule, inputs: Tensor) -> Tensor:
    """The vectors that a layer multiplies its weight with, (samples, in_features)."""
    if not isinstance(layer, TNConv):
        return inputs.double().reshape(-1, inputs.shape[-1])
    images = inputs if inputs.ndim == layer.dims + 2 else inputs[None]
    moves = window(layer.dims, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode)
    return conv_patches(images, moves)


def _columns_last(layer: TNModule, outputs: Tensor) -> Tensor:
    """The outputs as vectors, (samples, out_features), in the order of the inputs' rows."""
    if not isinstance(layer, TNConv):
        return outputs.double().reshape(-1, outputs.shape[-1])
    maps = outputs if outputs.ndim == layer.dims + 2 else outputs[None]
    return maps.double().movedim(1, -1).reshape(-1, layer.out_channels)
