"""A bar with the time left, on the error stream and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress(
    words: str, total: int | None = None, console: Console | None = None, *, wanted: bool = True
) -> Iterator[Callable[..., None]]:
    """Show how far something is that may take more than two seconds.

    Args:
        words: What is done, such as "planning".
        total: How many steps it has; None where that is not known, for a bar that only moves.
        console: Where to show; None is the error stream.
        wanted: False shows nothing, on a terminal either.

    Yields:
        A function to call after each step, `step(words=None, done=1)`: words take the place of those that are shown,
        `done` is how many steps that were.

    Example:
        >>> with progress("planning", 2) as step:
        ...     step()
        ...     step("planning, all but done")
    """
    console = console or Console(stderr=True)
    counts: tuple[ProgressColumn, ...] = () if total is None else (MofNCompleteColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counts)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (wanted and console.is_terminal),
        redirect_stdout=sys.stdout.isatty(),  # results that are piped away do not go through the bar's console
    ) as bars:
        task = bars.add_task(words, total=total)
        yield lambda words=None, done=1: bars.update(task, advance=done, description=words)
