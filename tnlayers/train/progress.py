"""Showing progress: a bar on a terminal, a line now and then in a log, or nothing.

Shown on the error stream, so that the standard output holds results alone. Steps can be shorter than a millisecond, so
a step that comes too soon after the last one shown costs one comparison.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tnlayers.train.history import EpochRecord

BAR_SECONDS = 0.25
LINE_SECONDS = 15.0
STEP_LINE_SECONDS = 60.0


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
    """One line now and then, for logs.

    The first and the last epoch, at most one in between per quarter minute, and in epochs that are longer than that
    one a minute with the time left.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._next = self._next_step = 0.0

    def begin(self, label: str, *, epochs: int, done: int) -> None:
        """Note the model."""
        now = self._clock()
        self._label, self._epochs, self._next, self._next_step = label, epochs, 0.0, now + STEP_LINE_SECONDS
        self._start, self._done = now, done

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Print a line if the epoch is long."""
        now = self._clock()
        if now >= self._next_step:
            self._next_step = now + STEP_LINE_SECONDS
            here = f"epoch {epoch}/{self._epochs}, step {step}/{steps}"
            self._print(f"{here}, {self._left(epoch - 1 + step / steps, now)}")

    def epoch(self, record: EpochRecord) -> None:
        """Print the line if it is time."""
        now = self._clock()
        if now >= self._next or record.epoch == self._epochs:
            self._next, self._next_step = now + LINE_SECONDS, now + STEP_LINE_SECONDS
            left = "" if record.epoch == self._epochs else f", {self._left(record.epoch, now)}"
            self._print(f"epoch {record.epoch}/{self._epochs}, {summary(record)}{left}")

    def _print(self, words: str) -> None:
        self._console.print(f"{self._label}: {words}", markup=False)

    def _left(self, epochs: float, now: float) -> str:
        """Return the time left, at the pace since this process began."""
        pace = (now - self._start) / (epochs - self._done)
        return f"{duration(pace * (self._epochs - epochs))} left"


def duration(seconds: float) -> str:
    """Return a length of time in hours, minutes and seconds, the small ones only where they matter.

    Example:
        >>> duration(42.4), duration(200), duration(18000)
        ('42 s', '3 min 20 s', '5 h 00 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


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
