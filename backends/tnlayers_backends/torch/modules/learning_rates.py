"""Parameter groups whose learning rates follow maximal-update scaling, core by core.

Maximal-update parametrisation asks that one step changes every feature by the same order at every width (Yang and Hu
2021, arXiv 2011.14522; Yang et al. 2022, arXiv 2203.03466, Table 3): for a matrix with entries of variance ~1/fan_in

    Adam   lr ~ 1 / fan_in             an update of +-lr per entry adds up over fan_in aligned features
    SGD    lr ~ fan_out / fan_in

For a structured matrix each factor is such a matrix with its own fan-in (Qiu et al. 2024, arXiv 2406.06248).
Here the fans of a core are read off the graph: contract the input with the cores in order of declaration; fan_in is the
product of the indices that end at the core, fan_out of those that begin there. The product of all fan_in is in_features
times the summed indices, so cores of variance 1/fan_in would give W its variance. Ours are drawn with equal norms
instead, which is another gauge of the same W: a core that is g times as large as it would be (g^2 = 3^(1/n) fan_in
times its mean square, n the number of cores; the product of all g is 1 at initialisation) needs

    Adam   lr_k = lr * base_width / fan_in_k * g_k          SGD   lr_k = lr * fan_out_k / fan_in_k * g_k^2

for the same change of W. A dense `nn.Linear` is the case n = 1, g = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod, sqrt
from typing import Any, Literal

from torch import nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.kinds import find
from tnlayers_backends.torch.layers.module import TNModule

OptimizerKind = Literal["adam", "sgd"]


def fans(graph: Graph, *, one_hot: bool = False) -> dict[str, tuple[int, int]]:
    """(fan_in, fan_out) of every core: what it sums over and what it makes, the input contracted with them in order.

    Args:
        graph: The network.
        one_hot: Whether the input picks one value of each mode, as an embedding's does: then no mode is summed over.

    Example:
        >>> import tnlayers as tnl
        >>> fans(tnl.spec("mpo(in=4x7x7, out=2x3x5, bond=8-6)").graph)
        {'core_0': (4, 16), 'core_1': (56, 18), 'core_2': (42, 5)}
    """
    places = {i: [k for k, core in enumerate(graph.cores) if i in core.indices] for i in range(len(graph.sizes))}
    kept = {*graph.outputs, *(graph.inputs if one_hot else ())}
    found = {}
    for k, core in enumerate(graph.cores):
        own = dict.fromkeys(core.indices)
        ending = [i for i in own if i not in kept and places[i][-1] == k]
        starting = [i for i in own if i not in graph.inputs and places[i][0] == k and i not in ending]
        found[core.name] = (prod(graph.sizes[i] for i in ending), prod(graph.sizes[i] for i in starting))
    return found


@checks_arguments()
def parameter_groups(
    model: nn.Module, lr: float, optimizer: OptimizerKind = "adam", *, base_width: int = 256
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer in which a learning rate found at one width holds at others.

    Call it on freshly drawn parameters: the size of each core is taken from its entries. Vectors (biases, scales of
    norms) and tables of embeddings have a fan-in of 1. The rule sets rates only; of maximal-update parametrisation it
    leaves out that the last layer starts smaller by the root of the width.

    Args:
        model: Any module.
        lr: The learning rate of a square dense matrix at the base width, and of vectors there.
        optimizer: "adam" for Adam, AdamW and others whose steps do not depend on the gradient's scale, or "sgd".
        base_width: The fan-in for which `lr` is right.

    Returns:
        One group per learning rate, with "params", "lr" and the "names" of the parameters.

    Raises:
        TNLayersError: If the optimizer is another, a number is not positive, or a core is zero.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNLinear(1024, 1024, network="mpo(cores=2, bond=8)", seed=0)
        >>> groups = tnl.nn.parameter_groups(layer, lr=1e-3, base_width=1024)
        >>> optimizer = torch.optim.Adam(groups)
        >>> {name: round(group["lr"], 4) for group in groups for name in group["names"]}
        {'core_0': 0.019, 'core_1': 0.0067, 'bias': 0.001}
    """
    if optimizer not in ("adam", "sgd"):
        raise TNLayersError(f"optimizer={optimizer!r}: the rules known are 'adam' (also for AdamW) and 'sgd'.")
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = dict(_rates(model, lr, optimizer, base_width))
    groups: dict[float, dict[str, Any]] = {}
    for parameter, name in names.items():
        group = groups.setdefault(rates[parameter], {"params": [], "lr": rates[parameter], "names": []})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _rates(model: nn.Module, lr: float, optimizer: OptimizerKind, base: int) -> Iterator[tuple[nn.Parameter, float]]:
    """The learning rate of every parameter."""

    def rate(fan_in: int, fan_out: int, gauge: float = 1.0) -> float:
        return lr * base / fan_in * gauge if optimizer == "adam" else lr * fan_out / fan_in * gauge**2

    for module in model.modules():
        for parameter in module.parameters(recurse=False):  # vectors and tables, unless something below knows better
            yield parameter, lr if optimizer == "adam" else lr * parameter.shape[-1:].numel() / base
        kind = find(module)
        one_hot = kind is not None and kind.one_hot
        if isinstance(module, TNModule):
            for graph in module.spec.graphs:
                for name, (fan_in, fan_out) in fans(graph, one_hot=one_hot).items():
                    core = module.cores[name]
                    yield core, rate(fan_in, fan_out, _gauge(name, core, fan_in, len(graph.cores)))
        elif kind is not None and not one_hot:
            weight = module.weight
            assert isinstance(weight, nn.Parameter)
            yield weight, rate(weight[0].numel(), weight.shape[0])


def _gauge(name: str, core: nn.Parameter, fan_in: int, cores: int) -> float:
    """How much larger a core is than it would be with variance 1/fan_in, `nn.Linear`'s third shared out over all."""
    mean_square = float(core.detach().abs().double().square().mean())
    if not mean_square > 0:
        raise TNLayersError(
            f"The core {name!r} has a mean square of {mean_square}, so no learning rate follows from its size. Call "
            "parameter_groups on freshly drawn parameters (layer.reset_parameters())."
        )
    return sqrt(mean_square * fan_in * 3 ** (1 / cores))
