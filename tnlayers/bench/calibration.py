"""Measuring the rates of this machine: what `tnlayers calibrate` does."""

from __future__ import annotations

import warnings

from tnlayers.backends import backend as find_backend
from tnlayers.declare.arguments import device as check_device
from tnlayers.declare.arguments import shown
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import machine_file, write


def calibrate(device: str = "cpu", dtype: str = "float32", backend: str = "torch") -> Machine:
    """Measure the rates of a device of this machine, keep them for the user, and plan with them from now on.

    Args:
        device: "cpu", or a CUDA device as torch names it.
        dtype: The dtype of the products: rates are measured and stored for single and half precision apart.
        backend: "torch", or "jax" for the rates of XLA on jax's default device, by which layers on jax then plan.

    Returns:
        The rates.

    Raises:
        TNLayersError: If the framework is not installed or another one, there is no such device, or the file cannot be
            written.
    """
    file = machine_file(measured_name(device, backend), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)  # rates that cannot be read are about to be replaced
        if backend == "jax":
            from tnlayers_backends.jax import rates as of_xla

            found = of_xla.measure(dtype)
        else:
            from tnlayers_backends.torch.measure import rates

            found = rates.measure(device, dtype)
    write(file, found)
    return found


def measured_name(device: str, backend: str) -> str:
    """The name by which the rates of a device are saved.

    Raises:
        TNLayersError: As for `calibrate`.
    """
    if backend not in ("torch", "jax"):
        raise TNLayersError(f"backend={shown(backend)}: rates are measured with 'torch' or with 'jax'.")
    find_backend(backend)  # refuses where it is missing
    if backend == "torch":
        from tnlayers_backends.torch.run.device import device_name

        check_device("device", device)
        return device_name(device)
    if device != "cpu":
        raise TNLayersError(
            f"device={shown(device)} with backend='jax': jax is measured on its default device. Leave the device out, "
            "and choose jax's own with JAX_PLATFORMS."
        )
    from tnlayers_backends.jax.multiply import xla_name

    return xla_name()
