"""A process for a part of the work of this one, which ends with it, however that ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tnlayers.files.stopping import PARENT


@contextmanager
def child(words: Sequence[str], *, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command line for the time of a block; it gets SIGTERM after the block, and when this process is killed.

    Args:
        words: The command; only `tnlayers` and `python -m tnlayers` see that this process is killed.
        stdout: The descriptor of its standard output; None is that of this process.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    with subprocess.Popen(words, stdout=stdout, env=environment) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
