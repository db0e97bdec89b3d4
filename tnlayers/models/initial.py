"""The initial weights of the paper's MNIST networks, as its code draws them.

Dense weights and kernels: normal of std 0.1, cut at two std. MPO cores: normal cut at two sigma, sigma = sqrt(2.6 /
(rows + columns)) of the core's matrix (Glorot, where 1.3 makes up for the cut). Biases: zero. Other network types,
which the paper does not have, keep tnlayers' own initialisation with the variance 1/(3 in_features).
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from tnlayers.models.sites import glorot_shape
from tnlayers.nn import TNLinear

_DENSE_STD = 0.1


@torch.no_grad()
def reset(model: nn.Module, seed: int | None) -> None:
    """Draw every parameter of a model anew.

    Args:
        model: A model whose layers are `Linear`, `Conv2d` and `TNLinear`.
        seed: Decides all of them; None takes torch's global generator.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    for module in model.modules():
        if isinstance(module, TNLinear):
            _reset_network(module, generator)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            _cut_normal(module.weight, _DENSE_STD, generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            bias.zero_()


def _reset_network(layer: TNLinear, generator: torch.Generator) -> None:
    if layer.spec.network != "mpo":
        layer.reset_parameters(int(torch.randint(2**62, (), generator=generator)))
        return
    graph = layer.spec.graph
    for k, core in enumerate(layer.cores.values()):
        _cut_normal(core, sqrt(2.6 / sum(glorot_shape(graph, k))), generator)


def _cut_normal(parameter: Tensor, sigma: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)
