"""The campaigns of processes and of long training, in short: the scripts beside this file are the long ones."""

import json
import random
import sys

import pytest

pytest.importorskip("lightning_fabric")
import torch

from fuzz import long_training, page, processes


@pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc")
def test_a_killed_worker_ends_torchrun_with_the_way_to_go_on(tmp_path):
    trials = processes.torchrun(tmp_path, 1, random.Random(0), cases="1", goes_on=False)
    assert list(trials) == [("done", "")]


def test_a_half_written_file_is_seen(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert processes.half_written(tmp_path) == []
    (tmp_path / "a.json").write_text("{")
    (tmp_path / ".b.partial").touch()
    assert sorted(processes.half_written(tmp_path)) == [".b.partial", "a.json"]


def test_changing_batches_pile_nothing_up():
    """Once each shape has been seen by some steps; a megabyte a step would be seen."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = long_training.train(150)
    torch.set_num_threads(before)
    assert found["shapes"] > 70
    assert found["late"] - found["early"] < 64


def test_what_is_stored_has_nothing_wrong():
    campaigns = json.loads((page.HERE / "processes.json").read_text())
    assert set(campaigns) == set(processes.CAMPAIGNS)
    assert not any(found.get("wrong") for found in campaigns.values())
    assert all(found.get("done", 0) + found.get("refused", 0) for found in campaigns.values())
    long = json.loads((page.HERE / "long_training.json").read_text())
    assert long["steps"] == 10_000
    assert long["late"] - long["early"] <= long_training.GROWTH


def test_the_page_has_what_is_stored():
    shown = page.stored()
    for name, found in json.loads((page.HERE / "processes.json").read_text()).items():
        assert f"| {name} | {found['what']} |" in shown
    assert "trains convolutions for 10,000 steps" in shown
    text = (page.HERE.parents[1] / "docs" / "fuzz.md").read_text(encoding="utf-8")
    assert shown in text
    assert page.renewed(text) == text
