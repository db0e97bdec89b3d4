"""Settings of all tests of the core: modest Hypothesis, and one torch thread."""

import os
import signal
import sys

import absent
import memory
import pytest
import slow
from hypothesis import settings

# Rates that a user has measured must not decide plans here: a folder that does not exist.
os.environ["TNLAYERS_CACHE"] = os.path.join(os.path.dirname(__file__), "no-cache")
os.environ["TNLAYERS_KEEP_PLANS"] = "0"  # nor plans that another process has kept, and the folder stays away
# XLA compiles hundreds of small functions here, each for a few numbers: fast code for them costs more than it saves.
_QUICK = ("backend_optimization_level=0", "llvm_disable_expensive_passes=true", "cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *(f"--xla_{flag}" for flag in _QUICK)]).strip()

collect_ignore_glob = ["data/*"]  # scripts that run in environments of their own

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci")


def pytest_configure(config):
    # A shell that starts this in the background has it ignore signals, and its children with it.
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    config.pluginmanager.register(memory)
    if absent.ABSENT:
        config.pluginmanager.register(absent)


def pytest_ignore_collect(collection_path, config):
    """`make slow` imports no file that has no slow test."""
    if config.option.markexpr == "slow" and collection_path.suffix == ".py":
        return True if collection_path not in slow.files() and collection_path.name != "conftest.py" else None
    return None


def pytest_collection_modifyitems(items):
    names = slow.names()
    for item in items:
        if slow.function(item.nodeid) in names:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: slow.rank(item.path))


@pytest.fixture(autouse=True)
def _one_thread(request):
    """Small layers are faster on one thread; tests of training set their own."""
    torch = sys.modules.get("torch")
    if torch is None or "train" in request.node.path.parts:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(capsys, monkeypatch):
    """Run one command of the command line; return its exit status, standard output and error output."""
    from tnlayers.__main__ import main

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TNLAYERS_DEBUG", raising=False)

    def run(*words):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        shown = capsys.readouterr()
        absent.skip_if_told(shown.out + shown.err)
        return int(exit_.value.code or 0), shown.out, shown.err

    return run
