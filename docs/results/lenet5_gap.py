"""How a step on the cores moves the weights of LeNet-5's layers, beside a step on a dense weight.

    python docs/results/lenet5_gap.py [NAME=FILE ...]      prints JSON: the model as drawn, and each saved model

A step of gradient descent on the cores c, with rate eta, moves W by -eta K G to first order: G is the gradient of the
loss by W, K = sum over cores of J J^T, J the derivative of W by one core. For a dense layer K is the identity. Of each
layer this script measures, on the first 2,000 training images,

- `rate`: <G, K G> / <G, G>, by how much faster W moves along its gradient than a dense one at the same eta;
- `aligned`: the cosine between G and K G, 1 where the step on the cores is the dense one's direction;
- `cores`: of each core |gradient| / |core|, whose spread is how unequal the cores' steps are;
- `decay`: n / rate for n cores. L2 of l on every core shrinks W by the factor 1 - n eta l per step, as W is linear in
  each core, where L2 of l on a dense W shrinks it by 1 - eta l. Per distance moved along the gradient that is an L2 of
  `decay` * l on W.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

import tnlayers as tnl
from tnlayers.train.data import load_mnist

IMAGES = 2000


def measured(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[dict[str, Any]]:
    """One record for each layer of the model that has cores; the model is changed to float64."""
    model.double().zero_grad()
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, tnl.nn.TNLinear)}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            output.register_hook(lambda gradient: seen.__setitem__(name, (inputs[0].detach(), gradient)))

        return hook

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    nn.functional.cross_entropy(model(images.double()), labels).backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    return [_layer(name, layer, *seen[name]) for name, layer in layers.items()]


def _layer(name: str, layer: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor) -> dict[str, Any]:
    """The record of one layer from its inputs and the gradient by its outputs."""
    cores = {key: core for key, core in layer.named_parameters() if core.grad is not None and "bias" not in key}
    gradient = outputs.flatten(0, -2).T @ inputs.flatten(0, -2)  # by W, of shape (out, in)
    moved = torch.zeros_like(gradient)
    for key, core in cores.items():  # W is linear in each core: J times a direction is W with that in the core's place
        moved += _weight(layer, {key: core.grad})
    along = float((gradient * moved).sum())
    rate = along / float((gradient * gradient).sum())
    return {
        "layer": name,
        "rate": rate,
        "aligned": along / float(gradient.norm() * moved.norm()),
        "cores": [float(core.grad.norm() / core.detach().norm()) for core in cores.values()],
        "decay": len(cores) / rate,
        "norm": float(layer.to_dense().detach().norm()),
    }


@torch.no_grad()
def _weight(layer: nn.Module, values: dict[str, torch.Tensor]) -> torch.Tensor:
    """The layer's W with other cores in the place of some, by the layer's answer to the identity."""
    identity = torch.eye(layer.in_features, dtype=torch.float64)
    return functional_call(layer, {**values, "bias": torch.zeros(layer.out_features, dtype=torch.float64)}, identity).T


def main(files: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """The records of the model as drawn with seed 0, and of saved ones."""
    part = load_mnist().train
    images, labels = torch.as_tensor(part.images[:IMAGES]), torch.as_tensor(part.labels[:IMAGES])
    models = {"as drawn": tnl.models.build("lenet5", seed=0), **{name: tnl.load(path) for name, path in files.items()}}
    return {name: measured(model, images, labels) for name, model in models.items()}


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    print(json.dumps(main({name: Path(path) for name, path in given.items()}), indent=1))
