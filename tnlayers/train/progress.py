"""Showing progress: a bar on a terminal, a line now and then in a log, or nothing.

Shown on the error stream, so that the standard output holds results alone. Steps can be shorter than a millisecond, so
a step that comes too soon after the last one shown costs one comparison.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tnlayers.train.history import EpochRecord

BAR_SECONDS = 0.25
LINE_SECONDS = 15.0


class Progress(ABC):
    """Told what training does."""

    @abstractmethod
    def begin(self, label: str, *, epochs: int, done: int) -> None:
        """Announce a model: its label, how many epochs it has in all, and how many are done already."""

    @abstractmethod
    def step(self, epoch: int, step: int, steps: int) -> None:
        """Announce that `step` of `steps` steps of an epoch are done."""

    @abstractmethod
    def epoch(self, record: EpochRecord) -> None:
        """Announce the measurements of an epoch."""


class Silent(Progress):
    """Shows nothing."""

    def begin(self, label: str, *, epochs: int, done: int) -> None:
        """Show nothing."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Show nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Show nothing."""


class Bar(Progress):
    """One bar per model on a terminal."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._next = 0.0

    def begin(self, label: str, *, epochs: int, done: int) -> None:
        """Add a bar."""
        self._task = self._bars.add_task(label, total=epochs, completed=done, note="")

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Move the bar, a few times a second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + BAR_SECONDS
            self._bars.update(self._task, completed=epoch - 1 + step / steps)

    def epoch(self, record: EpochRecord) -> None:
        """Show the accuracy beside the bar."""
        self._bars.update(self._task, completed=record.epoch, note=summary(record))


class Lines(Progress):
    """One line now and then, for logs: the first and the last epoch, and at most one in between per quarter minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def begin(self, label: str, *, epochs: int, done: int) -> None:
        """Note the model."""
        self._label, self._epochs, self._next = label, epochs, 0.0

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Show nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Print the line if it is time."""
        now = time.monotonic()
        if now >= self._next or record.epoch == self._epochs:
            self._next = now + LINE_SECONDS
            self._console.print(f"{self._label}: epoch {record.epoch}/{self._epochs}, {summary(record)}", markup=False)


def summary(record: EpochRecord) -> str:
    """Return the measurements of an epoch in a few words."""
    return f"loss {record.train_loss:.4f}, test {100 * record.test_accuracy:.2f} %, {record.seconds:.2f} s/epoch"


@contextmanager
def showing(wanted: bool) -> Iterator[Progress]:
    """Yield the way of showing that fits the error stream.

    Args:
        wanted: False shows nothing.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not wanted:
        yield Silent()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=console, refresh_per_second=4) as bars:
            yield Bar(bars)
