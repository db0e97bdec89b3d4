"""This machine's rates: measured once by `tnlayers calibrate`, kept per user, and used by every plan from then on.

They lie in a small JSON file in the user's cache folder, one per machine (a home folder may be shared by several).
Without it plans are made with the defaults of `Machine`, so that they are the same everywhere.
"""

from __future__ import annotations

import json
import platform
import warnings
from dataclasses import asdict
from functools import cache
from pathlib import Path

from tnlayers.atomic import write_text
from tnlayers.backends import backend
from tnlayers.cache import cache_folder
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.machine import Machine

FORMAT = "tnlayers.machine/1"


def machine_file() -> Path:
    """Where this machine's rates are kept: in $TNLAYERS_CACHE, else in $XDG_CACHE_HOME or ~/.cache, in `tnlayers`."""
    return cache_folder() / f"machine-{platform.node() or 'unnamed'}.json"


@cache
def machine() -> Machine:
    """The rates that plans are made with: the measured ones if there are any, else the defaults; read once.

    A file that cannot be read is told of by a warning and not used.
    """
    file = machine_file()
    if not file.exists():
        return Machine()
    try:
        return read(file)
    except TNLayersError as error:
        warnings.warn(f"{error} The default rates are used.", TNLayersWarning, stacklevel=2)
        return Machine()


def read(file: Path) -> Machine:
    """Read rates from a file.

    Raises:
        TNLayersError: If it does not hold rates in this format.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        rates = {name: type(default)(data["rates"][name]) for name, default in asdict(Machine()).items()}
        if data["format"] == FORMAT and min(rates.values()) > 0:
            return Machine(**rates)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TNLayersError(f"{file} holds no rates ({type(error).__name__}: {error}): {_MEND}") from error
    raise TNLayersError(f"{file} holds no rates in the format {FORMAT!r}, all above zero: {_MEND}")


_MEND = "run `tnlayers calibrate` again, or delete the file."


def calibrate() -> Machine:
    """Measure this machine's rates with torch, keep them for the user, and plan with them from now on.

    Returns:
        The rates.

    Raises:
        TNLayersError: If torch is not installed, or the file cannot be written.
    """
    backend("torch")  # refuses where torch is missing
    from tnlayers_backends.torch.rates import measure  # only here: nothing else in this module needs torch

    found, file = measure(), machine_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"format": FORMAT, "rates": asdict(found)}, indent=2) + "\n")
    except OSError as error:
        raise TNLayersError(
            f"The rates cannot be kept in {file} ({error}): set TNLAYERS_CACHE to a folder that can be written to."
        ) from error
    machine.cache_clear()
    return found
