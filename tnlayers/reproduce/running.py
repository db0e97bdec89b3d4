"""Running jobs: each is `tnlayers train` in a process of its own, which a budget can stop and a later one goes on with.

The process writes checkpoints as any training does, and is ended when the budget is; what it had done since its
last checkpoint is done again, with the same numbers.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tnlayers.errors import TNLayersError
from tnlayers.files.child import child
from tnlayers.reproduce.recipe_text import Run, recipes
from tnlayers.reproduce.schedule import Job
from tnlayers.reproduce.store import read_runs

STOPPED = 130


def command(job: Job, *, data_root: Path | None, threads: int | None) -> list[str]:
    """The command of a job, without the interpreter."""
    row = job.row
    words = ["train", row.model, "--network", row.network, "--data", row.data, "--seed", str(job.seed)]
    words += ["--epochs", str(job.epochs), "--out", str(job.folder.parent), "--name", job.folder.name, "--resume"]
    words += ["--checkpoint-seconds", "0"]  # after each epoch: short ones have small files, and long ones are dear
    if job.recipe != next(iter(recipes(row.model, row.data))):
        words += ["--recipe", job.recipe]
    words += ["--paper-selection"] if job.selection else []
    words += ["--data-root", str(data_root)] if data_root is not None else []
    words += ["--threads", str(threads)] if threads is not None else []
    return words


def work(
    jobs: Sequence[Job], *, minutes: float, data_root: Path | None = None, threads: int | None = None
) -> Iterator[tuple[Job, list[Run]]]:
    """Run jobs one after the other until the time is over.

    Yields:
        Each job and its finished runs: none for the one that the end of the budget cut short.

    Raises:
        TNLayersError: If a training refuses or fails.
    """
    end = time.monotonic() + 60 * minutes
    for job in jobs:
        left = end - time.monotonic()
        if left <= 0:
            return
        words = [sys.executable, "-m", "tnlayers", *command(job, data_root=data_root, threads=threads)]
        status = _run(words, left)
        if status not in (0, STOPPED):
            raise TNLayersError(
                f"Training {job.row.model} with {job.row.network}, seed {job.seed}, ended with status {status}; its "
                f"last words are above. What was done is in {job.folder}: the same command goes on with it."
            )
        yield job, read_runs(job.folder)


def _run(words: Sequence[str], seconds: float) -> int:
    """Run a command for at most so long; its table goes to the error stream, as the results of this command go out.

    It is ended by SIGTERM, not SIGINT, which what is started in the background ignores; checkpoints are whole.
    """
    with child(words, stdout=sys.stderr.fileno()) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return STOPPED
