"""A signal ends the command line in one line at most, with the status of a shell, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tnlayers.files import stopping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for the moment of the handlers")
TRAIN = ("train", "fc2", "--data", "digits", "--epochs", "50000", "--threads", "1")
RESUME = "Stopped. The same command with --resume continues from the last checkpoint.\n"


@pytest.fixture
def start(tmp_path):
    """Starts the command line in an empty folder; returns once its handlers are in place, before numpy is loaded."""
    started = []

    def begin(*words, ignored=None):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        # What is ignored here is ignored there as well; preexec_fn would fork, which jax warns of.
        before = None if ignored is None else signal.signal(ignored, signal.SIG_IGN)
        process = subprocess.Popen(
            [sys.executable, "-m", "tnlayers", *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ignored is not None:
            signal.signal(ignored, before)
        started.append(process)
        while process.poll() is None and not caught(process.pid):
            time.sleep(0.001)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def caught(pid):
    """Whether a process handles SIGTERM itself, which Python alone does not."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize(
    ("seconds", "number"), [(0, INT), (0.05, HUP), (0.2, INT), (0.5, TERM), (1.0, INT), (1.5, INT)]
)
def test_a_signal_is_quiet_from_the_first_second_on(start, seconds, number):
    process = start(*TRAIN)
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err in ("", "Stopped.\n", RESUME)


def test_a_signal_in_training_says_how_to_go_on(start, tmp_path):
    process = start(*TRAIN)
    metrics = tmp_path / "runs" / "fc2-digits" / "metrics.csv"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert [line for line in err.splitlines(keepends=True) if not line.startswith("fc2 mpo seed 0: ")] == [RESUME]


@pytest.mark.parametrize(
    "words", [("calibrate",), ("bench", "--quick"), ("reproduce", "--budget", "1"), ("check", "mpo(in=4x4, out=4x4)")]
)
def test_other_commands_end_as_quietly(start, words):
    process = start(*words)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    if process.returncode:  # else it was quicker
        assert process.returncode == 128 + signal.SIGTERM
        assert err.count("\n") <= 1


def test_what_is_ignored_stays_ignored(start):
    """As nohup does, and a shell for what it starts in the background."""
    process = start(*TRAIN, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.at_work():
        assert signal.getsignal(signal.SIGTERM) not in before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert stopping.received() == signal.SIGTERM
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before


def test_a_signal_of_one_block_does_not_end_the_next():
    code = """
import signal, time
from tnlayers.files import stopping

stopping.PATIENCE = 0.3
try:
    with stopping.at_work():
        signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    pass
with stopping.at_work():
    time.sleep(1)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_importing_the_library_installs_nothing():
    code = "import signal, tnlayers; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_signal_in_a_finaliser_is_not_lost(start, tmp_path):
    """Python drops exceptions there; a process that continued would need a second signal."""
    code = """
import os, signal, time
from tnlayers.files import stopping

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with stopping.at_work():
    Finalised()
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_the_status_is_ours_wherever_the_signal_came(tmp_path):
    """`python -m` ends by SIGINT if a KeyboardInterrupt ever came out of a text, as dataclasses run some."""
    code = """
import signal, sys
from tnlayers.files import stopping
try:
    with stopping.at_work():
        exec("signal.raise_signal(signal.SIGTERM)")
except KeyboardInterrupt:
    sys.exit(143)
"""

    def status(text):
        (tmp_path / "module.py").write_text(text)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
        done = subprocess.run([sys.executable, "-m", "module"], env=environment, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode

    assert status(code) == 143
    assert status(code.replace("signal.raise_signal(signal.SIGTERM)", "raise KeyboardInterrupt")) == -signal.SIGINT


def test_a_library_that_does_not_come_back_is_not_waited_for():
    code = """
import os, threading, time
import numpy as np
from tnlayers.files import stopping

stopping.PATIENCE = 0.1
with stopping.at_work():
    matrix = np.random.default_rng(0).standard_normal((2500, 2500))
    print("begins", flush=True)
    threading.Timer(0.3, os.kill, (os.getpid(), 15)).start()
    for _ in range(10):
        np.linalg.svd(matrix)
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "begins\n", "Stopped.\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_copy_is_ended_as_any_process():
    code = """
import os, signal, time
from tnlayers.files import stopping

with stopping.at_work():
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), stopping.received())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-15 None\n", "")
