"""Where a number comes from: the code's commit, versions, the processor and the command, as plain text."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
    """The commit of the checkout that this library runs from, with "-dirty" where files of the library differ from it.

    Other files do not count: a measurement that goes on for hours writes into the folder of results meanwhile. A copy
    without git, as in a container, is reported its commit in TNLAYERS_COMMIT.
    """
    # Installed inside some other project's folder, git would answer for that project: ask whether it knows this file.
    if git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return os.environ.get("TNLAYERS_COMMIT")
    same = git("diff", "--quiet", "HEAD", "--", "tnlayers", "backends") is not None
    return f"{git('rev-parse', 'HEAD')}{'' if same else '-dirty'}"


def git(*arguments: str) -> str | None:
    """The answer of a git command about this library's checkout, or None if it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def version(package: str) -> str:
    """The installed version of a package, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def cpu_name() -> str:
    """The model of the CPU; Linux has no call for it, only a text file."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command() -> str:
    """The command line of this process, without the folder of its program."""
    program = Path(sys.argv[0])
    name = "tnlayers" if program.parent.name == "tnlayers" and program.stem == "__main__" else program.name
    return shlex.join([name, *sys.argv[1:]])
