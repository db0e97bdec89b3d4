"""What became of one input: done, refused, or wrong; and how wrong is told.

The invariant of every campaign: whatever the input, a call does what it says or refuses with a `TNLayersError` (with
Python's TypeError or ValueError where arguments are wrong), in a message of 2,000 characters at most, within a time and
a memory; it leaves no file that it was not asked for, and runs nothing.
"""

from __future__ import annotations

import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tnlayers as tnl
from tnlayers.errors import LONGEST

SECONDS = 4.0  # of processor time for one input: twice what is promised, as machines of tests are shared
MEGABYTES = 512
HANGS = 20  # seconds after which an input is stopped
CANARY = "FUZZ_CANARY"  # a file of this name in the folder of the input means that something was executed


class Hung(BaseException):
    """An input was stopped; no `except Exception` may catch it."""


@dataclass(frozen=True)
class Verdict:
    """What became of one input: "done", "refused" or "wrong", and for the last why, and whether for its time."""

    kind: str
    why: str = ""
    slow: bool = False


def judged(action: Callable[[], object], folder: Path, *, arguments: bool = False) -> Verdict:
    """Run one input and judge it; one that took too long gets a second try, as other work may have lengthened it.

    Args:
        action: Calls the library with the input.
        folder: Its working folder; what `action` itself writes there must have a name that begins with "input".
        arguments: Whether Python's own errors for arguments count as refusals.
    """
    verdict = _judged_once(action, folder, arguments)
    return _judged_once(action, folder, arguments) if verdict.slow else verdict


def _judged_once(action: Callable[[], object], folder: Path, arguments: bool) -> Verdict:
    accepted = (tnl.TNLayersError, TypeError, ValueError) if arguments else (tnl.TNLayersError,)
    memory, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    kind, why, slow = "done", "", False
    try:
        with _stopped_after(HANGS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action()
    except accepted as error:
        kind = "refused"
        if len(str(error)) > LONGEST and isinstance(error, tnl.TNLayersError):
            kind, why = "wrong", f"a message of {len(str(error))} characters"
    except Hung:
        kind, why = "wrong", f"stopped after {HANGS} s"
    except Exception as error:
        kind, why = "wrong", f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    if kind != "wrong" and seconds > SECONDS:
        kind, why, slow = "wrong", f"took {seconds:.1f} s", True
    if kind != "wrong" and grown > MEGABYTES:
        kind, why = "wrong", f"took {grown:.0f} MB"
    left = sorted(path.name for path in folder.iterdir() if not path.name.startswith("input"))
    if left:
        kind, why = "wrong", f"{'was executed' if CANARY in left else 'left behind'}: {', '.join(left)}"
    return Verdict(kind, why, slow)


@contextmanager
def _stopped_after(seconds: int):
    def stop(*_):
        raise Hung

    if not hasattr(signal, "setitimer") or sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
