"""The user's cache folder: what can be made again, such as measured rates and unpacked data, is kept there."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $TNLAYERS_CACHE, else `tnlayers` in $XDG_CACHE_HOME or ~/.cache; it may not exist yet."""
    folder = os.environ.get("TNLAYERS_CACHE")
    if folder is not None:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tnlayers"
