"""Where numbers come from: commit, machine, versions and rates, which distinguish cells of different runs."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tnlayers.bench.limit import peak_rate, read_rate
from tnlayers.files.origin import command, commit, cpu_name, version
from tnlayers.machine.saved_rates import machine, machine_file

PACKAGES = (
    "torch",
    "jax",
    "numpy",
    "opt_einsum",
    "tensornetwork-ng",
    "tensorly-torch",
    "torch-mpo",
    "torchTT",
    "tednet",
    "tensorkrowch",
)
SEED = 0  # of cores, inputs, the order within rounds and the bootstrap


def provenance() -> dict[str, Any]:
    """A run's commit, machine, versions, command, seed, date, and the rates that plans and limits are made with."""
    return {
        "commit": commit(),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in PACKAGES},
        "command": command(),
        "seed": SEED,
        "begun": datetime.now(UTC).isoformat(timespec="minutes"),
        "calibrated": machine_file().exists(),
        "rates": asdict(machine()),
        "peak_flops": peak_rate("float32", 1),
        "read_bytes": read_rate(1),
    }


def same_origin(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether numbers of two runs may stand side by side: equal commit, machine and versions."""
    return all(one[key] == other[key] for key in ("commit", "machine", "versions"))
