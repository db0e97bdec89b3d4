"""One run at a time in a folder: a lock that ends with the process that has it, however that ends.

The folder itself is locked (flock), so there is no file that a killed run could leave behind. Where the system knows no
such locks (Windows, some network file systems) a run goes without.
"""

from __future__ import annotations

import os
from pathlib import Path

from tnlayers.errors import TNLayersError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """The lock of a run's folder.

    Args:
        root: The folder; it is made if need be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock until `release`, or until this process ends.

        Raises:
            TNLayersError: Another run has it.
        """
        if fcntl is None:
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # whoever writes into the folder says what is wrong with it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise TNLayersError(
                f"Another process is training in {self.root} at this moment. Wait until it ends and go on with "
                "--resume, or choose another folder: --name NAME."
            ) from error
        except OSError:  # a file system without locks
            os.close(handle)
            return
        self._handle = handle

    def release(self) -> None:
        """Let others have it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
