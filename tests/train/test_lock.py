"""One run at a time in a folder; a run that was killed leaves no lock behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tnlayers.errors import TNLayersError
from tnlayers.train import TrainConfig, train
from tnlayers.train.config import MOST_SEEDS
from tnlayers.train.lock import RunLock
from tnlayers.train.processes import lost_connection

HOLDER = """
import sys, time
from pathlib import Path
from tnlayers.train.lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock of a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="no flock")
def test_the_second_run_is_told(holder, tmp_path):
    settings = {"model": "fc2", "out": tmp_path, "name": "run", "threads": 1, "accelerator": "cpu", "resume": True}
    with pytest.raises(TNLayersError, match=r"Another process is training in .*--resume"):
        train(TrainConfig.resolve(None, **settings), progress=False)
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="no flock")
def test_a_killed_run_leaves_no_lock(holder, tmp_path):
    lock = RunLock(tmp_path / "run")
    with pytest.raises(TNLayersError, match="Another process"):
        lock.acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    time.sleep(0.05)
    lock.acquire()
    assert not list((tmp_path / "run").iterdir())
    lock.release()
    RunLock(tmp_path / "run").acquire()


def test_a_folder_that_cannot_be_locked_is_for_others_to_refuse(tmp_path):
    (tmp_path / "file").write_text("")
    RunLock(tmp_path / "file").acquire()
    RunLock(tmp_path / "file" / "below").acquire()


def test_what_a_lost_process_looks_like():
    assert lost_connection(RuntimeError("[../gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:1"))
    assert not lost_connection(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("seeds", [10**9, "1000000000", MOST_SEEDS + 1])
def test_seeds_beyond_number_are_refused_at_once(seeds):
    with pytest.raises(TNLayersError, match=f"at most {MOST_SEEDS} seeds"):
        TrainConfig.resolve(None, model="fc2", seeds=seeds)
