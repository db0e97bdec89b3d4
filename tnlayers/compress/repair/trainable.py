"""Which parameters repair may train: all, the cores, or the auxiliary cores of Liu et al. 2021 (arXiv 2106.02205)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from tnlayers_backends.torch.layers.module import TNModule
from torch import nn

Trainable: TypeAlias = Literal["all", "cores", "auxiliary"]


def central_cores(model: nn.Module) -> dict[str, set[str]]:
    """By layer, the names of its central cores: the largest of each network, the one nearest the middle of equals.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> central_cores(torch.nn.Sequential(tnl.nn.MPOLinear(784, 256, bond_dim=16)))
        {'0': {'core_2'}}
    """
    found: dict[str, set[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, TNModule):
            for graph in layer._map.graphs:
                names = [core.name for core in graph.cores]
                middle = len(names) // 2
                size = {core: layer.cores[core].numel() for core in names}
                largest = max(names, key=lambda core: (size[core], -abs(names.index(core) - middle)))
                found.setdefault(name, set()).add(largest)
    return found


@contextmanager
def frozen(model: nn.Module, trainable: Trainable) -> Iterator[None]:
    """While repair is at work, parameters that are not to be trained ask for no gradient."""
    asked = {parameter: parameter.requires_grad for parameter in model.parameters()}
    central = central_cores(model) if trainable == "auxiliary" else {}
    trained = set(model.parameters()) if trainable == "all" else set[nn.Parameter]()
    for name, layer in model.named_modules():
        if isinstance(layer, TNModule) and trainable != "all":
            trained |= {core for key, core in layer.cores.items() if key not in central.get(name, ())}
            trained |= {layer.bias} if layer.bias is not None and trainable == "cores" else set()
    try:
        for parameter, wanted in asked.items():
            parameter.requires_grad_(wanted and parameter in trained)
        yield
    finally:
        for parameter, wanted in asked.items():
            parameter.requires_grad_(wanted)
