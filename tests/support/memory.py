"""The memory of the processes that run tests: what is not needed again is dropped, and the peak is printed.

jax and torch keep what they have compiled for ever, which would add up to gigabytes.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

GROWTH = 100  # MB, after which what has been compiled is dropped
LIMIT = 1500  # MB, of one process
_after_last = [0.0]
_peaks: dict[str, float] = {}


def pytest_configure() -> None:
    gc.disable()  # until all is imported: nothing of that is garbage


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """A collection looks at every object there is: modules and tests, a million of them, need not be seen again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Seconds, once jax and torch are loaded: so only where memory has grown."""
    if resident() < _after_last[0] + GROWTH:
        return
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # glibc keeps what is freed between what is not
    _after_last[0] = resident()


def resident() -> float:
    """The memory of this process, MB; without /proc it always counts as grown."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else float("inf")


def peak() -> float:
    """The most memory that this process has had, MB; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak"] = peak()
    elif not _peaks:
        _peaks["this process"] = peak()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """A process of pytest-xdist has ended."""
    _peaks[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak", 0.0)


def pytest_terminal_summary(terminalreporter) -> None:
    text = ", ".join(f"{name} {most:.0f} MB" for name, most in sorted(_peaks.items()))
    over = f": more than {LIMIT} MB" if max(_peaks.values(), default=0) > LIMIT else ""
    terminalreporter.write_line(f"Peak memory: {text}{over}")
