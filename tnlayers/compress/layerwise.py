"""The first stage of repair: cores of one layer after the other, by least squares against the dense outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from tnlayers_backends.torch.layerwise import Moments, fits, solve_cores
from tnlayers_backends.torch.module import TNModule
from torch import Tensor, nn

from tnlayers.compress.distil import inputs_of
from tnlayers.compress.trainable import Trainable, central_cores


def layerwise(
    model: nn.Module,
    teacher: nn.Module,
    layers: dict[str, TNModule],
    loader: Iterable[Any],
    sweeps: int,
    trainable: Trainable,
    fabric: Fabric,
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Least squares for one layer after the other: the later ones see the inputs that the repaired ones give them."""
    twins = dict(teacher.named_modules())
    fixed = central_cores(model) if trainable == "auxiliary" else {}
    fitted: dict[str, tuple[float, float]] = {}
    skipped: dict[str, str] = {}
    for name, layer in layers.items():
        if not fits(layer) or next(layer.parameters()).is_complex():
            skipped[name] = "least squares is for real linear layers and convolutions of one group"
            continue
        if type(twins.get(name)) not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            skipped[name] = "the teacher has no dense layer of this name"
            continue
        moments = _moments(model, teacher, layer, twins[name], loader, fabric)
        if moments.count == 0:
            skipped[name] = "the teacher or the model did not call it"
            continue
        bias = layer.bias
        if trainable == "auxiliary" and bias is not None:
            kept = bias.detach().clone()
            layer.bias = None  # stays as it is: its share is taken off the outputs
            moments = _without_bias(moments, kept)
        fitted[name] = solve_cores(layer, moments, sweeps, fixed.get(name, ()))
        layer.bias = bias
    return fitted, skipped


def _without_bias(moments: Moments, bias: Tensor) -> Moments:
    """The moments of outputs less a fixed bias."""
    b, x, y = bias.double(), cast("Tensor", moments.x), cast("Tensor", moments.y)
    return Moments(
        count=moments.count,
        x=x,
        y=y - moments.count * b,
        xx=moments.xx,
        yx=cast("Tensor", moments.yx) - torch.outer(b, x),
        yy=moments.yy - 2 * float(b @ y) + moments.count * float(b @ b),
    )


@torch.no_grad()
def _moments(
    model: nn.Module, teacher: nn.Module, layer: TNModule, twin: nn.Module, loader: Iterable[Any], fabric: Fabric
) -> Moments:
    """What goes into a layer of the model, with what comes out of its twin in the teacher."""
    moments, seen, wanted = Moments(), list[Tensor](), list[Tensor]()
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])),
        twin.register_forward_hook(lambda module, inputs, output: wanted.append(output)),
    ]
    model.eval()
    try:
        for batch in loader:
            x = inputs_of(batch, fabric)
            model(x)
            teacher(x)
            for inputs, outputs in zip(seen, wanted, strict=False):
                moments.add(layer, inputs, outputs)
            seen.clear()
            wanted.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return moments
