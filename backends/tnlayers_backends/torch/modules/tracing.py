"""Seeing layers from outside: as one node each in graphs of torch.fx, and by name in profiles.

Torch decides by the name of a class's module, `torch.nn`, which modules symbolic tracing takes as leaves. A class could
say it of itself only by a `__call__` of its own, which takes time at every call; a patch of torch's tracer would change
it for everybody. So the tracer is ours, and others are refused in words. Labels of profiles are hooks for the while of
a profile, which cost nothing outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Tracer

from tnlayers_backends.torch.layers.computed import ComputedWeights
from tnlayers_backends.torch.layers.module import TNModule


class LeafTracer(Tracer):
    """A tracer of torch.fx for which layers of tnlayers are leaves, as those of `torch.nn` are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one node: one of torch.nn, or a layer of tnlayers."""
        return isinstance(m, ComputedWeights) or super().is_leaf_module(m, module_qualified_name)


def symbolic_trace(model: nn.Module, concrete_args: Mapping[str, Any] | None = None) -> GraphModule:
    """`torch.fx.symbolic_trace` of a model in which layers of tnlayers are single nodes.

    Args:
        model: Any torch module.
        concrete_args: As torch's takes them: inputs that are fixed.

    Example:
        >>> import tnlayers as tnl
        >>> model = nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2), nn.ReLU())
        >>> [node.target for node in symbolic_trace(model).graph.nodes if node.op == "call_module"]
        ['0', '1']
    """
    fixed = None if concrete_args is None else dict(concrete_args)
    return GraphModule(model, LeafTracer().trace(model, fixed), type(model).__name__)


@contextmanager
def profile_labels(model: nn.Module) -> Iterator[None]:
    """Show the layers of a model by name in a profile: each forward call is a range "path: network".

    Outside of the block nothing is there, so it costs nothing.

    Args:
        model: Any torch module.

    Example:
        >>> import tnlayers as tnl
        >>> model = nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=2))
        >>> with torch.profiler.profile() as profile, profile_labels(model):
        ...     y = model(torch.ones(2, 16))
        >>> [event.key for event in profile.key_averages() if event.key.startswith("0: ")]
        ['0: mpo(in=4x4, out=4x4, bias=true, bond=2)']
    """
    handles = []
    for path, layer in model.named_modules():
        if isinstance(layer, ComputedWeights):
            label = (
                f"{path or type(layer).__name__}: {layer.spec if isinstance(layer, TNModule) else type(layer).__name__}"
            )
            handles += _labelled(layer, label[:200])
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _labelled(layer: nn.Module, label: str) -> list[Any]:
    ranges: list[Any] = []

    def begin(*_: Any) -> None:
        ranges.append(torch.autograd.profiler.record_function(label))
        ranges[-1].__enter__()

    def end(*_: Any) -> None:
        if ranges:
            ranges.pop().__exit__(None, None, None)

    first = layer.register_forward_pre_hook(begin, prepend=True)
    return [first, layer.register_forward_hook(end, always_call=True)]
