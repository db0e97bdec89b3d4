"""What must not take long, timed so that a busy machine is not taken for slow code.

A promise of seconds is checked by the least of a few tries: other work, and the collection of what other tests left,
lengthen one of them; what is slow is slow in each. The processor's time is counted, not the clock's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3


def busy(seconds: float) -> None:
    """Use the processor for so long."""
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass


def least_seconds(action: Callable[[], object], enough: float) -> float:
    """The least processor time of a few tries of `action`; the first that takes less than `enough` is the last."""
    least = float("inf")
    for _ in range(TRIES):
        begin = time.process_time()
        action()
        least = min(least, time.process_time() - begin)
        if least < enough:
            break
    return least


def assert_prompt(action: Callable[[], object], seconds: float) -> None:
    """Fail unless one of a few tries of `action` takes less than `seconds` of processor time."""
    least = least_seconds(action, seconds)
    assert least < seconds, f"took {least:.2f} s at best, where {seconds} s are promised"
