"""Files that are either the old one or the new one, whole, whenever the process or the machine stops."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing; when the block ends well it takes the place of `path` in one step.

    The bytes are forced to disk before the step and the folder's entry after it. A block that fails, a full disk, or a
    process that is killed leaves `path` as it was. The name of the file beside it is fixed, so that what a killed
    process left is overwritten by the next one and does not pile up; a block that fails leaves none. A process that
    finds another one writing to it takes a name of its own: the last one to end has its file in place, whole.

    Args:
        path: The file to write or replace; its folder must exist.
        durable: Whether to force it to disk; else it may be empty after a power cut, as a cache's file may.

    Yields:
        The file to write to.

    Raises:
        OSError: If it cannot be written, or a device, a pipe or a socket has that name, which a file would replace.
    """
    _check_kind(path)
    beside, handle = _open_beside(path)
    with open(handle, "wb") as file:  # locked until it is in its place
        try:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows moves no file that is open
            os.replace(beside, path)
        except BaseException:
            if fcntl is None:
                file.close()
            beside.unlink(missing_ok=True)  # on a full disk half a file is in the way of what would make room
            raise
    if durable:
        sync_folder(path.parent)


def _check_kind(path: Path) -> None:
    """Refuse what is no place for a file: who writes to /dev/null does not want a file there."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # there is nothing yet, or what is wrong shows when it is written
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "It is a device, a pipe or a socket, no file", str(path))


def _open_beside(path: Path) -> tuple[Path, int]:
    """An empty file beside `path` that no other process writes to, and its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    beside = path.with_name(f".{path.name}.partial")
    if fcntl is None:
        return beside, os.open(beside, flags | os.O_TRUNC, 0o666)
    handle = None
    try:
        handle = os.open(beside, flags | os.O_NONBLOCK, 0o666)  # not waiting for who reads a pipe of that name
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(beside)):  # else another one has just moved it into place
            if os.fstat(handle).st_size:
                os.ftruncate(handle, 0)
            return beside, handle
    except OSError:  # locked by another one, gone, no file, or a file system without locks
        pass
    if handle is not None:
        os.close(handle)
    own = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    return own, os.open(own, flags | os.O_TRUNC, 0o666)


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
