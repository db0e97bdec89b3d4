"""The fingerprint of the code that decides plans: plans on disk are searched anew once it has changed.

A plan's file is named by its contraction, so what declares that (network types, specs, the grammar) needs no place
here, nor does what only executes plans.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import opt_einsum

# Whole packages, and single files of others.
DECIDING = ("declare/graph.py", "declare/kernel.py", "declare/window.py", "machine", "program", "pricing", "planning")


def digest(names: tuple[str, ...] = DECIDING, root: Traversable | None = None) -> str:
    """A digest of sources and of opt_einsum's version.

    Args:
        names: Packages and files, as paths below the root.
        root: The folder of the library; None for the one that is imported.
    """
    root = files("tnlayers") if root is None else root
    found = hashlib.sha256(opt_einsum.__version__.encode())
    for name in names:
        place = root.joinpath(name)
        own = place.iterdir() if place.is_dir() else [place]
        for file in sorted(own, key=lambda file: file.name):
            if file.name.endswith(".py"):
                found.update(f"\n{name} {file.name}\n".encode())
                found.update(file.read_bytes())
    return found.hexdigest()


@cache
def fingerprint(names: tuple[str, ...] = DECIDING) -> str:
    """The digest of the code that runs, read once."""
    return digest(names)
