"""What processes of one run say when others of them are gone, and clocks that go wrong."""

import json
import os
import subprocess
import sys
from itertools import cycle
from types import SimpleNamespace

import pytest
import torch

from tnlayers.errors import TNLayersError
from tnlayers.files import stopping
from tnlayers.reproduce.store import Store
from tnlayers.train import TrainConfig, train
from tnlayers.train.lock import RunLock
from tnlayers.train.processes import lost_others, speak_for

GLOO = RuntimeError(
    "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1. This is "
    "typically caused by a remote worker crashing."
)
SETTINGS = {"model": "fc2", "network": "mpo", "batch": 200, "momentum": 0.9, "threads": 1, "accelerator": "cpu"}


def second(**changes):
    return SimpleNamespace(**({"global_rank": 1, "local_rank": 1, "world_size": 2, "node_rank": 0} | changes))


def said():
    """What a signal would say now."""
    shown = []
    stopping.say(shown.append)
    return "".join(shown)


def test_a_lost_group_is_one_paragraph_and_in_torchruns_report(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    refusal = lost_others(second(), GLOO)
    assert isinstance(refusal, TNLayersError)
    assert str(refusal).startswith("Process 1 of 2 lost the others")
    assert "(Connection closed by peer [127.0.0.1]:1)" in str(refusal)
    assert "--resume" in str(refusal)
    assert "gloo" not in str(refusal)
    message = json.loads((tmp_path / "error.json").read_text())["message"]
    assert message["message"] == message["extraInfo"]["py_callstack"] == str(refusal)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "none" / "error.json"))
    assert str(lost_others(second(), GLOO)) == str(refusal)


def test_another_process_speaks_where_the_first_is_gone(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for fabric, first, speaks in (
        (second(), os.getpid(), False),
        (second(), None, False),  # on another machine
        (second(local_rank=0), gone.pid, False),  # it speaks anyway
        (second(), gone.pid, True),
    ):
        stopping.announce("Stopped.")
        speak_for(fabric, first)
        assert ("--resume" in said()) == speaks


def test_clocks_that_go_wrong_change_nothing(tmp_path, assert_same_run):
    """Times of files decide nothing: a run continues."""

    def run(name, **settings):
        config = TrainConfig.resolve(None, **SETTINGS, **settings, out=tmp_path, name=name, checkpoint_seconds=0)
        before = torch.get_num_threads()
        train(config, progress=False)
        torch.set_num_threads(before)

    run("whole", epochs=3)
    run("part", epochs=2)
    for path, moment in zip((tmp_path / "part", *(tmp_path / "part").rglob("*")), cycle([0, 2**33]), strict=False):
        os.utime(path, (moment, moment))
    run("part", epochs=3, resume=True)
    assert_same_run(tmp_path / "part", tmp_path / "whole")


@pytest.mark.skipif(os.name == "nt", reason="no flock")
@pytest.mark.parametrize("moment", [0, 2**33], ids=["1970", "2242"])
def test_a_lock_has_no_age(tmp_path, moment):
    os.utime(tmp_path, (moment, moment))
    lock = RunLock(tmp_path)
    lock.acquire()
    os.utime(tmp_path, (moment, moment))
    with pytest.raises(TNLayersError, match="Another process"):
        RunLock(tmp_path).acquire()
    lock.release()
    RunLock(tmp_path).acquire()


def test_a_store_of_another_time_is_read(tmp_path):
    (tmp_path / "paper.json").write_text('{"runs": [], "structure": {"fc2": {}}}')
    os.utime(tmp_path / "paper.json", (2**33, 2**33))
    assert Store(folder=tmp_path).structure() == {"fc2": {}}
