"""Plans kept on disk: read instead of searched, for these circumstances only, and never believed when damaged."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from specs import chain

import tnlayers as tnl
from tnlayers.machine.rates import Machine
from tnlayers.planning import choosing as optimise
from tnlayers.planning import conv_choice, conv_search
from tnlayers.planning import plan_cache as kept
from tnlayers.program.layout import assemble, follow
from tnlayers.program.pair_layouts import PairLayouts

SPECS = [
    "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
    "ring(in=4x4x4, out=4x4x4, bond=4)",
    "cp(in=4x4x4, out=4x4x4, rank=8)",
    "tucker(in=4x4x4, out=4x4x4, bond=3)",
    "tree(in=4x4x4x4, out=4x4x4x4, bond=4)",
]


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """An empty folder of the test's own, and the contractions that were searched."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "1")
    found, search = [], optimise._search

    def counted(contraction, *rest):
        found.append(contraction)
        return search(contraction, *rest)

    monkeypatch.setattr(optimise, "_search", counted)
    forget()
    yield found
    forget()


def forget():
    """What another process would not know."""
    optimise._cached_search.cache_clear()
    assemble.cache_clear()
    kept._tidy.cache_clear()


def files(folder):
    return sorted((folder / "plans").iterdir())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("objective", ["training", "inference"])
def test_the_same_plan_comes_back_without_a_search(searched, spec, objective):
    plan = tnl.plan(spec, 100, objective=objective)
    terms = len(searched)
    forget()
    again = tnl.plan(spec, 100, objective=objective)
    assert len(searched) == terms > 0
    assert again == plan
    assert again is not plan
    assert again.program == plan.program
    assert (again.cost, again.backward, again.memory, again.found_by) == (
        plan.cost,
        plan.backward,
        plan.memory,
        plan.found_by,
    )
    assert str(again) == str(plan)


def test_a_plan_without_stacks_comes_back(searched):
    plan = tnl.plan("mpo(in=8x16x8, out=8x16x8, bond=16)", 1, objective="training")
    assert not plan.stacked
    forget()
    again = tnl.plan("mpo(in=8x16x8, out=8x16x8, bond=16)", 1, objective="training")
    assert again == plan
    assert again.program == plan.program
    assert len(searched) == 1


def test_reading_takes_a_small_part_of_the_work(searched, monkeypatch):
    tried, product = [], PairLayouts.product
    monkeypatch.setattr(PairLayouts, "product", lambda self, *args: tried.append(args) or product(self, *args))
    tnl.plan(chain(8), 128)
    before = len(tried)
    forget()
    tnl.plan(chain(8), 128)
    assert 0 < len(tried) - before <= before / 5


def test_other_circumstances_have_plans_of_their_own(searched, tmp_path, monkeypatch):
    spec = SPECS[0]
    tnl.plan(spec, 128)
    for other in ({"objective": "training"}, {"dtype": "float64"}, {"memory_limit": 10**8}):
        tnl.plan(spec, 128, **other)
    tnl.plan(spec, 256)
    assert len(searched) == len(files(tmp_path)) == 5
    monkeypatch.setattr(optimise, "machine", lambda *about: replace(Machine(), side=9.0))
    tnl.plan(spec, 128)
    monkeypatch.setattr(kept, "fingerprint", lambda: "other code")
    forget()
    tnl.plan(spec, 128)
    assert len(searched) == len(files(tmp_path)) == 7
    tnl.plan(spec, 128, optimize="greedy")  # asked for, so it is found each time
    assert len(files(tmp_path)) == 7


DAMAGED = {
    "empty": "",
    "cut": '{"format": "tnlayers.kept/1", "pa',
    "a list": "[]",
    "other format": '{"format": "x"}',
    "no such operand": '{"format": "tnlayers.kept/1", "path": [[0, 9]], "orders": [[0]], "chunk": null, "slices": []}',
    "endless": '{"format": "tnlayers.kept/1", "path": [[0, Infinity]], "orders": [[0]], "chunk": null, "slices": []}',
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_made_again(searched, tmp_path, text):
    plan = tnl.plan(SPECS[0], 128)
    (file,) = files(tmp_path)
    whole = file.read_text()
    file.write_text(text)
    forget()
    assert tnl.plan(SPECS[0], 128) == plan
    assert len(searched) == 2
    assert file.read_text() == whole


def test_layouts_of_another_path_are_not_believed(searched, tmp_path):
    plan = tnl.plan(SPECS[0], 128)
    (file,) = files(tmp_path)
    data = json.loads(file.read_text())
    for orders in (data["orders"][::-1], data["orders"][:-1], [order[::-1] for order in data["orders"]]):
        file.write_text(json.dumps(data | {"orders": orders}))
        forget()
        assert tnl.plan(SPECS[0], 128) == plan
    assert len(searched) == 4
    assert follow(plan.contraction, plan.path, [()] * len(plan.path), stacked=True) is None


@pytest.mark.parametrize("off", ["0", "off", "False"])
def test_it_can_be_switched_off(searched, tmp_path, monkeypatch, off):
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", off)
    tnl.plan(SPECS[0], 128)
    assert not list(tmp_path.iterdir())


def test_small_contractions_are_not_worth_a_file(searched, tmp_path):
    tnl.plan("mpo(in=4x4, out=4x4, bond=4)", 128)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_keeps_nothing(searched, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "file"))
    assert tnl.plan(SPECS[0], 128).flops > 0
    assert len(searched) == 1


def test_a_full_disk_leaves_no_half_files(searched, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(kept.os, "replace", full)
    assert tnl.plan(SPECS[0], 128).flops > 0
    assert not files(tmp_path)


def test_very_many_files_lose_their_older_half(searched, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_MOST", 4)
    (tmp_path / "plans").mkdir()
    for age in range(6):
        old = tmp_path / "plans" / f"{age}.json"
        old.write_text("")
        os.utime(old, (age, age))
    tnl.plan(SPECS[0], 128)
    assert [file.name for file in files(tmp_path) if len(file.stem) == 1] == ["3.json", "4.json", "5.json"]


CONVOLUTIONS = [
    "lowrank(rank=4)",
    "cp(rank=4, cores=2)",
    "mpo(cores=2, bond=4)",
    "mpo(cores=2, bond=2) + lowrank(rank=2)",
]


@pytest.mark.parametrize("network", CONVOLUTIONS)
def test_routes_of_convolutions_come_back_without_a_search(searched, tmp_path, monkeypatch, network):
    runs, run = [], conv_search.RouteSearch.run
    monkeypatch.setattr(conv_search.RouteSearch, "run", lambda self, spatial: runs.append(0) or run(self, spatial))

    def found(**options):
        forget()
        conv_choice.plan_convolution.cache_clear()
        layer = tnl.nn.TNConv2d(64, 64, 3, padding=1, network=network, seed=0)
        return layer.plan_for((8, 64, 14, 14), **options)

    plan = found()
    assert bool(plan.routes) == network.startswith(("lowrank", "cp"))
    before = len(runs)
    assert found() == plan
    assert len(runs) == before > 0
    assert len(list((tmp_path / "convolutions").iterdir())) == 1
    found(objective="training")
    first, _ = sorted((tmp_path / "convolutions").iterdir(), key=lambda file: file.stat().st_mtime)
    for orders in ([[[0]]], [[[0], [0], [1]]], [[["a"]]], None, [None], 1, [[[9, 0]]], [[]]):
        first.write_text(json.dumps({"format": kept.FORMAT, "orders": orders}))
        assert found() == plan
    monkeypatch.setenv("TNLAYERS_KEEP_PLANS", "0")
    assert found() == plan


def test_two_processes_at_once_keep_whole_files(searched, tmp_path):
    code = "import tnlayers as tnl\nfor batch in (1, 32, 128): tnl.plan('ring(in=4x4x4, out=4x4x4, bond=4)', batch)"
    run = [sys.executable, "-W", "ignore", "-c", code]
    both = [subprocess.Popen(run, env=dict(os.environ)) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert [json.loads(file.read_text())["format"] for file in files(tmp_path)] == [kept.FORMAT] * 3
    for batch in (1, 32, 128):
        tnl.plan("ring(in=4x4x4, out=4x4x4, bond=4)", batch)
    assert not searched
