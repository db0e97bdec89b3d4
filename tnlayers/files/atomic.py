"""Files that are either the old one or the new one, whole, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing; when the block ends well it takes the place of `path` in one step.

    The bytes are forced to disk before the step and the folder's entry after it. A block that fails, a full disk, or a
    process that is killed leaves `path` as it was. The name of the file beside it is fixed, so that what a killed
    process left is overwritten by the next one and does not pile up; a block that fails leaves none.

    Args:
        path: The file to write or replace; its folder must exist.

    Yields:
        The file to write to.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)  # on a full disk half a file is in the way of what would make room
        raise
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the entries of a folder to disk, where the system lets one open a folder (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole, in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())
