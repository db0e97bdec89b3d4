"""A run that is killed at any moment and resumed ends as an unbroken one, bit for bit."""

import random
import signal
import time

import pytest


def rows(folder):
    """How many epochs the run has written down."""
    metrics = folder / "metrics.csv"
    return len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0


def wait_for_rows(process, folder, count):
    while process.poll() is None and rows(folder) < count:
        time.sleep(0.005)


def test_killed_at_any_moment_ends_as_unbroken(tmp_path, start_training, assert_same_run):
    everything = {"average": 0.9, "augment": True, "validation": 100, "warmup": 0.3, "cooldown": 0.7, "momentum": 0.9}
    small = {"model": "fc2", "network": "mpo,dense", "epochs": 8, "batch": 100, "threads": 1, "accelerator": "cpu"}
    settings = {**small, **everything, "checkpoint_seconds": 0, "keep": 2, "out": tmp_path}
    whole = start_training(**settings, name="whole")
    chance = random.Random()
    kills = 0
    for count in (chance.randint(1, 6), chance.randint(7, 13)):  # in the first model, then about its end
        process = start_training(**settings, name="broken", resume=True)
        wait_for_rows(process, tmp_path / "broken", count)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert kills, output
    last = start_training(**settings, name="broken", resume=True)
    for process in (whole, last):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert kills == 2
    assert rows(tmp_path / "whole") == 16
    assert_same_run(tmp_path / "broken", tmp_path / "whole")
    weights = tmp_path / "broken" / "models" / "fc2-mpo-seed0.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "broken", tmp_path / "whole")
