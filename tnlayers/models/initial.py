"""The initial weights of the paper's networks, as its code draws them, and those of language models.

MPO cores: normal cut at two sigma, sigma = sqrt(2.6 / (rows + columns)) of the core's matrix (Glorot, where 1.3 makes
up for the cut). Dense weights and kernels of the MNIST networks: normal of std 0.1, cut at two std; of the CIFAR-10
networks: Glorot's like the cores, rows and columns being kernel positions x output and input channels. Biases: zero,
normalisations: scale 1, shift 0. Other network types, which the paper does not have, keep tnlayers' own
initialisation with the variance 1/(3 in_features).

Language models have that variance in every linear layer, dense or not, so that both begin alike: normal numbers when
dense, else the cores that give it. Embeddings are normal of std 1, as large as the positions added to them.
"""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor, nn

from tnlayers.models.sites import glorot_shape
from tnlayers.nn import TNConv2d, TNLinear


@torch.no_grad()
def reset(model: nn.Module, seed: int | None, *, dense_std: float | None = None) -> None:
    """Draw every parameter of a model anew.

    Args:
        model: A model whose layers are `Linear`, `Conv2d`, `TNLinear` and `TNConv2d`, beside normalisations that are as
            they were made.
        seed: Decides all of them; None takes torch's global generator.
        dense_std: Of dense weights, before the cut; None for Glorot's.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    for module in model.modules():
        if isinstance(module, (TNLinear, TNConv2d)):
            _reset_network(module, generator)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            _cut_normal(module.weight, dense_std or _glorot(*_fans(module.weight)), generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            bias.zero_()


@torch.no_grad()
def reset_language(model: nn.Module, seed: int | None) -> None:
    """Draw every parameter of a language model anew.

    Args:
        model: A model whose layers are `Linear`, `TNLinear` and `Embedding`, beside normalisations that are as they
            were made; the weight of a head that is tied to an embedding is that of the embedding.
        seed: Decides all of them; None takes torch's global generator.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    for module in model.modules():
        if isinstance(module, TNLinear):
            module.reset_parameters(int(torch.randint(2**62, (), generator=generator)))
        elif isinstance(module, nn.Linear):
            std = 1.0 if any(module.weight is table for table in tables) else 1 / sqrt(3)
            module.weight.normal_(0, std / sqrt(module.in_features), generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(generator=generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            bias.zero_()


def _reset_network(layer: TNLinear | TNConv2d, generator: torch.Generator) -> None:
    if layer.spec.network != "mpo":
        layer.reset_parameters(int(torch.randint(2**62, (), generator=generator)))
        return
    graph = layer.spec.graph
    for k, core in enumerate(layer.cores.values()):
        _cut_normal(core, _glorot(*glorot_shape(graph, k)), generator)


def _fans(weight: Tensor) -> tuple[int, int]:
    """Output and input channels of a weight, each times the kernel's positions."""
    positions = prod(weight.shape[2:])
    return weight.shape[0] * positions, weight.shape[1] * positions


def _glorot(rows: int, columns: int) -> float:
    return sqrt(2.6 / (rows + columns))


def _cut_normal(parameter: Tensor, sigma: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)
