"""Where data sets lie: in the folder that is named, else in $TNLAYERS_DATA; without both they are downloaded."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

VARIABLE = "TNLAYERS_DATA"


def named_folder(root: Path | None) -> Path | None:
    """Return the folder to read from, or None where the files are to be fetched into the cache."""
    if root is not None:
        return root
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def first_with(folders: Iterable[Path], names: Collection[str]) -> Path | None:
    """Return the first of the folders that has a file of any of the names, or None."""
    return next((folder for folder in folders if any((folder / name).is_file() for name in names)), None)
