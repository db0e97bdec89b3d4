"""Ending on a signal: Ctrl-C, SIGTERM and SIGHUP end the command line with one line at most, whatever it is doing.

Importing this module installs handlers of these signals if the process is the command line, and does nothing in any
other. `tnlayers/__init__.py` imports it before everything else, since numpy and torch load for seconds, and an
exception in the middle of that ends in a traceback, or not at all.

While modules are loaded a signal ends the process at once. While a command is at work it raises `KeyboardInterrupt`, so
that files, bars and other processes are put in order; a second signal ends the process at once, and so does a call into
a library that does not return for `PATIENCE` seconds. What is on disk is whole in all cases (`atomic.py`). The exit
status is that of a shell: 128 and the number of the signal, 130 for Ctrl-C.

Nothing is imported here that is not quick to load: what comes before the handlers are in place is not theirs.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_USUAL = (signal.default_int_handler, signal.SIG_DFL)  # whoever ignores a signal, as nohup does, still does
PARENT = "TNLAYERS_PARENT"  # in the environment of a process of `child.py`: the process that started it
PATIENCE = 10.0  # seconds that a process has to see a signal, or the end of its parent
_SHOW_CURSOR = b"\x1b[?25h"  # which bars of progress hide


class Stopped(KeyboardInterrupt):
    """Raised where a signal comes while a command is at work.

    Not its base itself: where that ever comes out of `exec` of a text, `python -m` ends by SIGINT, caught or not.
    """


class _State:
    at_work = False  # whether a command runs, which has something to put in order
    received: int | None = None  # the signal that came first
    line = "Stopped."  # what to say then; "" once it is said
    is_child = False  # of `child.py`, whose parent says what there is to say


def received() -> int | None:
    """The signal that ends this process; None if there was none."""
    return _State.received


def announce(line: str, *, by_all: bool = False) -> None:
    """Set what is said when a signal ends this process: how to go on.

    Args:
        line: What is said.
        by_all: Whether every process of a training says it, not the first alone.
    """
    _State.line = line if by_all or os.environ.get("LOCAL_RANK", "0") == "0" else ""


def say(write: Callable[[str], object]) -> None:
    """Say it, once."""
    line, _State.line = _State.line, ""
    if line and not _State.is_child:
        write(f"{line}\n")


@contextmanager
def at_work() -> Iterator[None]:
    """Let signals raise `KeyboardInterrupt` in this block; handlers that were not ours before are put back."""
    before, hook = _install(), sys.unraisablehook

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        """An exception in a finaliser or a callback of C goes nowhere; a signal must not."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt) or _State.received is None:
            hook(unraisable)
        else:
            _quit()

    _State.at_work, _State.received = True, None
    announce("Stopped.")
    sys.unraisablehook = lost
    try:
        with _watched():
            yield
    finally:
        _State.at_work = False
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched() -> Iterator[None]:
    """In this block end the process where a signal comes and Python does not call the handler in `PATIENCE` seconds.

    It does so in the main thread alone, when that comes back from a library: perhaps never, where others do not answer.
    """
    import threading

    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    ended = threading.Event()  # of this block: a signal in it says nothing of the next one in this process

    def watch() -> None:
        while number := os.read(theirs, 1):
            late = number[0] in SIGNALS and not ended.wait(PATIENCE)
            if late and _State.received is None and signal.getsignal(number[0]) is _handle:
                _State.received = number[0]
                _quit()
        os.close(theirs)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(ours)


def _forked() -> None:
    """A copy of this process is none of ours: the usual handlers, and nobody is woken."""
    for number in SIGNALS:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.set_wakeup_fd(-1)


def _install() -> dict[int, Any]:
    """Install the handler where the usual ones are; returns those."""
    before: dict[int, Any] = {}
    for number in SIGNALS:
        with suppress(ValueError):  # not in the main thread
            if signal.getsignal(number) in _USUAL:
                before[number] = signal.signal(number, _handle)
    return before


def _handle(number: int, frame: FrameType | None) -> None:
    """Python calls this in the main thread, between two of its steps."""
    first, _State.received = _State.received is None, _State.received or number
    if not _State.at_work:
        os._exit(128 + number)
    if not first or _is_importing(frame):
        _quit()
    raise Stopped


def _quit() -> NoReturn:
    """End at once. Nothing goes through `sys.stderr`, which may be in the middle of a line."""
    with suppress(OSError):
        say(lambda text: os.write(2, text.encode()))
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(128 + (_State.received or 0))


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded: its C code may turn an exception into anything."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_command_line() -> bool:
    """Whether this process was started as `tnlayers` or `python -m tnlayers`."""
    if sys.argv[:1] == ["-m"]:  # what Python puts there until it has found the module
        return sys.orig_argv[-len(sys.argv)] in ("tnlayers", "-mtnlayers")
    return os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0] in ("tnlayers", "tnlayers-script")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _end_with_parent() -> None:
    """Where this process does a part of another one's work, `child.py`'s or torchrun's: look whether that is there."""
    parent = os.environ.pop(PARENT, "")
    if not parent and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    import threading
    import time

    _State.is_child = bool(parent)
    started_by = int(parent) if parent.isdecimal() else os.getppid()

    def watch() -> None:
        while os.getppid() == started_by:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        _State.received = _State.received or signal.SIGTERM
        _quit()

    threading.Thread(target=watch, daemon=True).start()


if _is_command_line():
    _install()
    _end_with_parent()
