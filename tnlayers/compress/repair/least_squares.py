"""Least squares of a layer's cores against the outputs of the dense layer that it replaces.

With the second moments C = E[x x^H] of the layer's inputs and B = E[y x^H] with the outputs y that are wanted,

    E ||W x - y||^2  =  tr W C W^H  -  2 Re tr W B^H  +  E ||y||^2

is a quadratic form in every single core, for every layer kind that `pairs.py` knows, real or complex. Moments are added
up by batches, so no activations are stored; the bias is eliminated exactly (both moments are centred). One core after
the other is solved by conjugate gradients from where it is, which lower the error at every step and need nothing but
the weight rebuilt: any network type, no normal matrix.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from tnlayers_backends.torch.layers.feature_orders import unordered
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.moments import wide
from tnlayers_backends.torch.run.primitives import OPS
from torch import Tensor

from tnlayers.compress.repair.pairs import Moments

_STEPS = 30  # of conjugate gradients per core and sweep: the next sweep goes on from there
_SMALL = 1e-12  # of the first residual, squared: solved


@dataclass(frozen=True, slots=True)
class _Form:
    """E ||W x + b - y||^2 for one layer, from the means of its moments.

    Attributes:
        layer: The layer.
        means: The moments per pair.
        fixed_bias: Whether the bias stays as it is; else it is solved for with the cores.
    """

    layer: TNModule
    means: Moments
    fixed_bias: bool

    def weight(self, cores: dict[str, Tensor]) -> Tensor:
        """W as a stack of matrices (groups, out, in)."""
        matrix: Tensor = self.layer._map.weight(OPS, list(cores.values()))
        whole = unordered(matrix, self.layer.in_order, self.layer.out_place)
        return whole.reshape(self.means.yx.shape)

    def error(self, cores: dict[str, Tensor], bias: Tensor | None) -> float:
        """The root of E ||W x + b - y||^2 / E ||y||^2."""
        means, w = self.means, self.weight(cores)
        wrong = float((w.conj() * (_times(w, means.xx) - 2 * means.yx)).real.sum() + means.yy)
        if bias is not None:
            b = bias.reshape(means.y.shape)
            through = (w @ means.x[..., None])[..., 0]
            wrong += float((b.conj() * (b + 2 * through - 2 * means.y)).real.sum())
        return (max(wrong, 0.0) / float(means.yy)) ** 0.5 if means.yy else 0.0

    def best_bias(self, cores: dict[str, Tensor]) -> Tensor:
        """The bias that is best with these cores."""
        return (self.means.y - (self.weight(cores) @ self.means.x[..., None])[..., 0]).reshape(-1)

    def centred(self, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """C and B where the bias is solved for beside the cores, or taken off the outputs."""
        means = self.means
        if bias is None:
            return means.xx, means.yx
        dagger = means.x.conj()[:, None, :]
        if self.fixed_bias:
            return means.xx, means.yx - bias.reshape(means.y.shape)[..., None] * dagger
        return means.xx - means.x[..., None] * dagger, means.yx - means.y[..., None] * dagger


@torch.no_grad()
def solve_cores(layer: TNModule, moments: Moments, sweeps: int, fixed: Collection[str] = ()) -> tuple[float, float]:
    """Fit the cores and the bias of a layer, in place.

    Args:
        layer: Linear, convolution or embedding.
        moments: Of its inputs and the outputs that are wanted.
        sweeps: How often every core is solved for.
        fixed: Names of parameters that stay, "bias" among them.

    Returns:
        The error of the outputs, relative to their norm, before and after. After is never larger: where it would be,
        by the rounding of a narrow dtype, the layer stays as it was.
    """
    fixed = {*fixed, *(name for name in layer.cores if name not in layer._parameters)}  # parametrised, or pruned
    form = _Form(layer, moments.means, "bias" in fixed)
    cores, bias = _wide_parameters(layer)
    kept = [parameter.detach().clone() for parameter in layer.parameters()]
    before = form.error(cores, bias)
    second, mixed = form.centred(bias)
    for _ in range(sweeps):
        for name in cores:
            if name not in fixed:
                cores[name] = _solved(form, cores, name, second, mixed)
    for name, core in layer.cores.items():
        if name not in fixed:
            core.copy_(cores[name])
    if layer.bias is not None and "bias" not in fixed:
        layer.bias.copy_(form.best_bias(cores))
    after = form.error(*_wide_parameters(layer))
    if after > before:
        for parameter, old in zip(layer.parameters(), kept, strict=True):
            parameter.copy_(old)
    return before, min(before, after)


def _solved(form: _Form, cores: dict[str, Tensor], name: str, second: Tensor, mixed: Tensor) -> Tensor:
    """One core after some steps of conjugate gradients on the quadratic form in it."""

    def product(core: Tensor, less: Tensor | None) -> Tensor:
        """The form's matrix times a core, less the linear part where it is given: half the gradient."""
        with torch.enable_grad():
            core = core.detach().requires_grad_()
            w = form.weight({**cores, name: core})
            towards = _times(w.detach(), second)
            return torch.autograd.grad(w, core, towards if less is None else towards - less)[0]

    core = cores[name]
    residual = -product(core, mixed)
    direction, square = residual, float(residual.abs().square().sum())
    first = square
    for _ in range(min(_STEPS, core.numel())):
        if square <= _SMALL * first:
            break
        image = product(direction, None)
        curvature = float((direction.conj() * image).real.sum())
        if curvature <= 0:  # inputs that this direction of the core never meets
            break
        core = core + square / curvature * direction
        residual = residual - square / curvature * image
        last, square = square, float(residual.abs().square().sum())
        direction = residual + square / last * direction
    return core


def _wide_parameters(layer: TNModule) -> tuple[dict[str, Tensor], Tensor | None]:
    """The cores and the bias in double precision."""
    cores = {name: wide(core.detach()) for name, core in layer.cores.items()}
    return cores, None if layer.bias is None else wide(layer.bias.detach())


def _times(weight: Tensor, second: Tensor) -> Tensor:
    """W C for a stack of weights; C as matrices, or as their diagonals."""
    return weight @ second if second.ndim == weight.ndim else weight * second[:, None, :]
