"""Measuring the rates of this machine: what `tnlayers calibrate` does."""

from __future__ import annotations

import warnings

from tnlayers.backends import backend
from tnlayers.declare.arguments import device as check_device
from tnlayers.errors import TNLayersWarning
from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import machine_file, write


def calibrate(device: str = "cpu", dtype: str = "float32") -> Machine:
    """Measure the rates of a device of this machine with torch, keep them for the user, and plan with them from now on.

    Args:
        device: "cpu", or a CUDA device as torch names it.
        dtype: The dtype of the products: rates are measured and kept for single and half precision apart.

    Returns:
        The rates.

    Raises:
        TNLayersError: If torch is not installed, there is no such device, or the file cannot be written.
    """
    backend("torch")  # refuses where torch is missing
    from tnlayers_backends.torch.measure import rates
    from tnlayers_backends.torch.run.device import device_name

    check_device("device", device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # rates that cannot be read are about to be replaced
        found = rates.measure(device, dtype)
    write(machine_file(device_name(device), dtype), found)
    return found
