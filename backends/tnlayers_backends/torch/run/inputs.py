"""What a layer is called with: a tensor, or a refusal that says what it was called with instead."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor
from torch.fx import Proxy

from tnlayers.declare.arguments import shown
from tnlayers.errors import TNLayersError


def refuse_tracing() -> NoReturn:
    """Refuse symbolic tracing by torch.fx, which cannot look into a plan.

    Raises:
        TNLayersError: Always.
    """
    raise TNLayersError(
        "torch.fx traces the inside of a layer of tnlayers, whose plan is chosen by Python at each call. "
        "tnl.nn.symbolic_trace(model) keeps each such layer as one node; a tracer of your own does so if it derives "
        "from tnl.nn.LeafTracer, or if its is_leaf_module says so."
    )


def check_tensors(layer: object, **given: object) -> None:
    """Refuse inputs that are no tensors, such as lists, arrays of numpy and None, and tensors of other layouts.

    Args:
        layer: What is called, for the message.
        **given: Its inputs by name.

    Raises:
        TNLayersError: One of them is no tensor, or a sparse, nested, quantized or mkldnn one.
    """
    for name, value in given.items():
        if isinstance(value, Proxy):
            refuse_tracing()
        if not isinstance(value, Tensor):
            raise TNLayersError(
                f"{type(layer).__name__} is called with {name}={shown(value)}, and needs a torch tensor: "
                "torch.as_tensor(...) makes one of numbers, lists and arrays."
            )
        if value.layout is not torch.strided or value.is_nested or value.is_quantized:
            kind, mend = _other_layout(value)
            raise TNLayersError(
                f"{type(layer).__name__} is called with {name} as a {kind} tensor, and contracts dense ones alone: "
                f"{name}.{mend} makes one."
            )


def _other_layout(value: Tensor) -> tuple[str, str]:
    """What a tensor that is no plain dense one is called, and the call that makes it dense."""
    if value.is_nested:
        return "nested", "to_padded_tensor(0.0)"
    if value.is_quantized:
        return "quantized", "dequantize()"
    return str(value.layout).removeprefix("torch._").removeprefix("torch."), "to_dense()"
