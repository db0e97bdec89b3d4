"""A bar with the time left, on the error stream and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress(words: str, total: int | None = None, console: Console | None = None) -> Iterator[Callable[[], None]]:
    """Show how far something is that may take more than two seconds.

    Args:
        words: What is done, such as "planning".
        total: How many steps it has; None where that is not known, for a bar that only moves.
        console: Where to show; None is the error stream.

    Yields:
        A function to call after each step.

    Example:
        >>> with progress("planning", 2) as step:
        ...     step()
        ...     step()
    """
    console = console or Console(stderr=True)
    counts: tuple[ProgressColumn, ...] = () if total is None else (MofNCompleteColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), *counts)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # results that are piped away do not go through the bar's console
    ) as bars:
        task = bars.add_task(words, total=total)
        yield lambda: bars.advance(task)
