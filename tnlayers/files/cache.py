"""The user's cache folder: what can be made again, such as plans, measured rates and unpacked data, lies there.

A cache is a convenience. Where its place is missing, full, read-only, somebody else's, or no folder at all, every file
in it is as good as absent: `is_cached` says False and `read_cached` raises an `OSError`, for pipes and devices at once.
A process without any such place (no home folder, an empty TNLAYERS_CACHE) has `NOWHERE`, in which no file can be.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

NOWHERE = Path(os.devnull, "tnlayers")  # the null device is no folder: whatever is read or written below it fails

_LARGEST = 2**24  # bytes; plans and rates take a few thousand


def cache_folder() -> Path:
    """Return $TNLAYERS_CACHE, else `tnlayers` in the user's cache folder of this system; it may not exist yet.

    On Linux the latter is $XDG_CACHE_HOME or ~/.cache.

    Returns:
        The folder, or `NOWHERE` if TNLAYERS_CACHE is empty or a path begins with a home folder that nobody knows.
    """
    folder = os.environ.get("TNLAYERS_CACHE")
    if folder is None:
        import platformdirs  # here alone: where the variable is set nothing needs it

        try:
            folder = platformdirs.user_cache_dir("tnlayers", appauthor=False)
        except (RuntimeError, OSError, LookupError):  # nobody knows a home folder
            return NOWHERE
    folder = os.path.expanduser(folder)
    if not folder.strip() or folder.startswith("~"):
        return NOWHERE
    return Path(folder)


def is_cached(file: Path) -> bool:
    """Whether there is such a regular file; False for whatever else is there, or cannot be looked at."""
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except (OSError, ValueError):  # the latter for a path that no system takes
        return False


def read_cached(file: Path) -> str:
    """The text of a file of the cache.

    Raises:
        OSError: There is no regular file of a plausible size there, or it cannot be read.
        ValueError: It is not text in UTF-8.
    """
    if not is_cached(file):
        raise FileNotFoundError(f"{file} is no file that can be read")
    with open(file, "rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(f"{file} has more than {_LARGEST} bytes")
    return content.decode()
