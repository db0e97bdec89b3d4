"""Bare models: a state dict without its code, as modules that hold its tensors and can be saved again.

A file of tensors does not say what they are. A matrix named `*.weight` is taken for the weight of an `nn.Linear`, as
most are; where it is a table, `tnl.load(file, into=model)` refuses to put a linear network there, and a rule keeps it
dense.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.modules.host import as_linear


def bare(tensors: Mapping[str, Tensor]) -> nn.Module:
    """A module with these tensors under these names; its matrices are linear layers, and it has no `forward`.

    Raises:
        TNLayersError: If no tensor is a matrix named `*.weight`.

    Example:
        >>> import torch
        >>> bare({"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2), "scale": torch.ones(1)}).head
        Linear(in_features=3, out_features=2, bias=True)
    """
    root = nn.Module()
    linear = {
        name.removesuffix(".weight"): value
        for name, value in tensors.items()
        if name.endswith(".weight") and value.ndim == 2 and value.is_floating_point()
    }
    if not linear:
        raise TNLayersError(
            f"None of the {len(tensors)} tensors of this state dict is a matrix named *.weight. Give module:function "
            "that makes the model, so that its layers are known."
        )
    used = set()
    for path, weight in linear.items():
        bias = tensors.get(f"{path}.bias")
        if bias is not None and bias.shape != weight.shape[:1]:
            bias = None
        used |= {f"{path}.weight", *([f"{path}.bias"] if bias is not None else [])}
        parent, _, leaf = path.rpartition(".")
        _holder(root, parent).add_module(leaf, as_linear(weight, bias))
    for name, value in tensors.items():
        if name not in used:
            parent, _, leaf = name.rpartition(".")
            holder = _holder(root, parent)
            if value.is_floating_point():
                holder.register_parameter(leaf, nn.Parameter(value))
            else:
                holder.register_buffer(leaf, value)
    return root


def _holder(root: nn.Module, path: str) -> nn.Module:
    """The module at a path, made where it is missing."""
    for name in path.split(".") if path else ():
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    return root
