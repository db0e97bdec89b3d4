"""Where a result comes from: versions, hardware, commit and command, as plain text for results.json."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch


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


def version(package: str) -> str:
    """Return the installed version of a package, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str | None:
    """Return the commit of the checkout that this library runs from, with "-dirty" if files differ from it.

    A copy without git, as in a container, is told its commit in TNLAYERS_COMMIT.
    """
    here = Path(__file__).resolve().parent
    # Installed inside some other project's folder, git would answer for that project: ask whether it knows this file.
    if git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return os.environ.get("TNLAYERS_COMMIT")
    return git(here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def git(folder: Path, *arguments: str) -> str | None:
    """Return the answer of a git command, or None if it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """Return the name of the device, with the number of cores for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{cpu_name()}, {os.cpu_count()} cores"
    return f"{device.type}, {platform.machine()}"


def cpu_name() -> str:
    """Return the model of the CPU; Linux has no call for it, only a text file."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command() -> str:
    """Return the command line of this process, without the folder of its program."""
    program = Path(sys.argv[0])
    name = "tnlayers" if program.parent.name == "tnlayers" and program.stem == "__main__" else program.name
    return shlex.join([name, *sys.argv[1:]])
