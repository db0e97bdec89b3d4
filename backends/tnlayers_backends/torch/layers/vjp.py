"""Output and gradients of a torch layer in the form that all backends share."""

from __future__ import annotations

import torch
from torch import Tensor

from tnlayers_backends.torch.layers.module import TNModule


def vjp(layer: TNModule, x: Tensor, grad_y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of sum(layer(x) * grad_y) by "x" and by each parameter's name, without conjugation.

    Torch's own are conjugate: they follow steepest descent of a real loss. For complex tensors both sides are turned.
    """
    leaves = {"x": x.detach().requires_grad_(), **layer.cores}
    if layer.bias is not None:
        leaves["bias"] = layer.bias
    with torch.enable_grad():
        y = layer(leaves["x"])
        found = torch.autograd.grad(y, list(leaves.values()), grad_y.conj())
    return y.detach(), {name: gradient.conj() for name, gradient in zip(leaves, found, strict=True)}
