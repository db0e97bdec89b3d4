"""This machine's rates: measured once by `tnlayers calibrate`, saved per user, and used by every plan from then on.

They lie in small JSON files in the user's cache folder, one per machine (a home folder may be shared by several), name
of a GPU, and kind of dtype: products in half precision run at rates of their own. Without them plans are made with the
defaults of `default_machine`, so that they are the same everywhere.
"""

from __future__ import annotations

import json
import platform
import re
import warnings
from dataclasses import asdict
from functools import cache
from pathlib import Path

from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files.atomic import write_text
from tnlayers.files.cache import cache_folder, is_cached, read_cached
from tnlayers.machine.rates import HALVES, Machine, default_machine

FORMAT = "tnlayers.machine/1"


def machine_file(device: str = "cpu", dtype: str = "float32") -> Path:
    """Where rates are stored: in the user's cache folder.

    Args:
        device: "cpu", "cuda" and the name of the GPU, or "xla" and what jax calls its device.
        dtype: The dtype of the products.

    Example:
        >>> machine_file("cuda NVIDIA H100", "bfloat16").name.endswith("-cuda-NVIDIA-H100-half.json")
        True
    """
    parts = ["machine", platform.node() or "unnamed"]
    parts += [re.sub(r"[^A-Za-z0-9]+", "-", device)] if device != "cpu" else []
    if dtype in HALVES:  # a GPU multiplies both at one rate, a processor one of them as single precision perhaps
        parts.append(dtype if device == "cpu" else "half")
    return cache_folder() / f"{'-'.join(parts)}.json"


@cache
def machine(device: str = "cpu", dtype: str = "float32") -> Machine:
    """The rates that plans are made with: the measured ones if there are any, else the defaults; read once.

    A file that does not hold rates is not used, with a warning. A processor whose rates in half precision were not
    measured has those of single precision: it may have no faster units for it. Where jax was not measured, the
    rates are those of the processor.

    Args:
        device: "cpu", "cuda" and the name of the GPU, or "xla" and what jax calls its device.
        dtype: The dtype of the products.
    """
    file, default = machine_file(device, dtype), default_machine(device, dtype)
    if not is_cached(file) and device.startswith("xla"):
        return machine(device) if dtype in HALVES and is_cached(machine_file(device)) else machine("cpu", dtype)
    if not is_cached(file):
        return machine(device) if device == "cpu" and dtype in HALVES else default
    try:
        return read(file)
    except TNLayersError as error:
        warnings.warn(f"{error} The default rates are used.", TNLayersWarning, stacklevel=2)
        return default


def is_measured(device: str, dtype: str) -> bool:
    """Whether rates of a device were saved that serve a dtype."""
    return is_cached(machine_file(device, dtype)) or is_cached(machine_file(device))


def read(file: Path) -> Machine:
    """Read rates from a file.

    Raises:
        TNLayersError: If it does not hold rates in this format.
    """
    try:
        data = json.loads(read_cached(file))
        rates = {name: type(default)(data["rates"][name]) for name, default in asdict(Machine()).items()}
        if data["format"] == FORMAT and min(rates.values()) > 0:
            return Machine(**rates)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TNLayersError(f"{file} holds no rates ({type(error).__name__}: {error}): {_MEND}") from error
    raise TNLayersError(f"{file} holds no rates in the format {FORMAT!r}, all above zero: {_MEND}")


_MEND = "run `tnlayers calibrate` again, or delete the file."


def write(file: Path, rates: Machine) -> None:
    """Save rates; plans are made with them from now on.

    Raises:
        TNLayersError: If the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"format": FORMAT, "rates": asdict(rates)}, indent=2) + "\n")
    except OSError as error:
        raise TNLayersError(
            f"The rates cannot be kept in {file} ({error}): set TNLAYERS_CACHE to a folder that can be written to."
        ) from error
    machine.cache_clear()
