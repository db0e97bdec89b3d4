"""Where a result comes from: versions, hardware, commit and command, as plain text for results.json."""

from __future__ import annotations

import os
import platform

import torch

from tnlayers.files.origin import command, commit, cpu_name, version


def describe_environment(device: torch.device, *, processes: int) -> dict[str, str | int | None]:
    """Return what a reader needs to repeat or doubt a measurement.

    Args:
        device: Where the training ran.
        processes: How many processes shared it.

    Returns:
        Versions, commit (None outside a git checkout of this library), hardware, threads and command by name.
    """
    return {
        "tnlayers": version("tnlayers"),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning_fabric": version("lightning-fabric"),
        "device": device_name(device),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "command": command(),
    }


def device_name(device: torch.device) -> str:
    """Return the name of the device, with the number of cores for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{cpu_name()}, {os.cpu_count()} cores"
    return f"{device.type}, {platform.machine()}"
