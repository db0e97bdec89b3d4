"""The names of devices."""

from __future__ import annotations

import torch


def device_name(device: torch.device | str) -> str:
    """The name that a device's rates are stored under: "cuda" with the name of the GPU, and "cpu" for all others.

    Example:
        >>> device_name("meta")
        'cpu'
    """
    place = torch.device(device)
    return f"cuda {torch.cuda.get_device_name(place)}" if place.type == "cuda" else "cpu"
