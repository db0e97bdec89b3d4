"""What a layer is called with: a tensor, or a refusal that says what it was called with instead."""

from __future__ import annotations

from torch import Tensor

from tnlayers.declare.arguments import shown
from tnlayers.errors import TNLayersError


def check_tensors(layer: object, **given: object) -> None:
    """Refuse inputs that are no tensors, such as lists, arrays of numpy and None.

    Args:
        layer: What is called, for the message.
        **given: Its inputs by name.

    Raises:
        TNLayersError: One of them is no tensor.
    """
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TNLayersError(
                f"{type(layer).__name__} is called with {name}={shown(value)}, and needs a torch tensor: "
                "torch.as_tensor(...) makes one of numbers, lists and arrays."
            )
