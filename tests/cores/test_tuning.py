"""Tuning: the clock decides among the few best plans, and what it found is read the next time."""

import json

import pytest
import torch
from layer_arrays import values
from oracle import assert_close, oracle_forward
from tnlayers_backends.torch.measure import timing

import tnlayers as tnl
from tnlayers.__main__ import main
from tnlayers.declare.graph import forward
from tnlayers.planning import plan_cache as kept
from tnlayers.planning.choosing import plan_contraction, shortlist

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder of the test's own."""
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    return tmp_path / "tuned"


@pytest.fixture
def clock(monkeypatch):
    """A clock that finds the last candidate fastest, and counts how often it was asked."""
    asked = []

    def seconds(plans):
        asked.append(list(plans))
        return [1.0] * (len(plans) - 1) + [0.5]

    monkeypatch.setattr(timing, "seconds", seconds)
    return asked


def test_candidates_are_few_different_and_keep_the_memory_limit():
    contraction = forward(tnl.spec(SPEC).graph, 128)
    plans = shortlist(plan_contraction(contraction, objective="training"))
    assert 2 <= len(plans) <= 5
    assert len({(plan.path, plan.chunk) for plan in plans}) == len(plans)
    assert plans[0] == tnl.plan(tnl.spec(SPEC).graph, 128, objective="training")
    limit = plans[0].memory - 1
    first = plan_contraction(contraction, objective="training", memory_limit=limit)
    assert all(plan.memory <= limit for plan in shortlist(first, limit))


@pytest.mark.parametrize("objective", ["forward", "training", "inference"])
def test_the_clock_runs_every_objective(objective):
    contraction = forward(tnl.spec("mpo(in=4x4, out=4x4, bond=4)").graph, 8)
    plans = shortlist(plan_contraction(contraction, objective=objective))
    taken = timing.seconds(plans)
    assert len(taken) == len(plans)
    assert min(taken) > 0


def test_the_fastest_is_taken_and_read_the_next_time(folder, clock, monkeypatch):
    plan = tnl.plan(SPEC, 128, objective="training", tune=True)
    assert plan == clock[0][-1] != clock[0][0]
    assert tnl.plan(SPEC, 128, objective="training", tune=True) == plan
    assert len(clock) == len(list(folder.iterdir())) == 1
    assert tnl.plan(SPEC, 128, objective="training") == clock[0][0]  # nothing that was not asked for is tuned
    for other in ({"objective": "forward"}, {"dtype": "float64"}, {"memory_limit": 10**8}):
        tnl.plan(SPEC, 128, **({"objective": "training"} | other), tune=True)
    assert len(clock) == len(list(folder.iterdir())) == 4
    monkeypatch.setattr(timing, "threads", lambda: 1 + torch.get_num_threads())
    tnl.plan(SPEC, 128, objective="training", tune=True)
    assert len(clock) == 5


def test_a_favourite_is_not_left_for_noise(folder, monkeypatch):
    monkeypatch.setattr(timing, "seconds", lambda plans: [1.0] + [0.99] * (len(plans) - 1))
    assert tnl.plan(SPEC, 64, tune=True) == tnl.plan(SPEC, 64)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "x"}', '{"format": "tnlayers.kept/1", "path": [[0, 9]]}'])
def test_damaged_files_are_told_of_and_replaced(folder, clock, text):
    plan = tnl.plan(SPEC, 128, tune=True)
    (file,) = folder.iterdir()
    file.write_text(text)
    with pytest.warns(tnl.TNLayersWarning, match="holds no tuned plan"):
        assert tnl.plan(SPEC, 128, tune=True) == plan
    assert json.loads(file.read_text())["format"] == kept.FORMAT
    assert len(clock) == 2


def test_a_layer_runs_what_was_found_for_its_bucket(folder, clock):
    layer = tnl.build(SPEC, seed=0)
    plan = layer.tune(100)
    assert plan == clock[0][-1]
    assert layer.plan_for(128, "training") is plan
    assert layer.plan_for(256, "training") is not plan
    x = torch.randn(100, 784)
    cores, bias = values(layer)
    assert_close(layer(x), oracle_forward(layer.spec, cores, x.numpy(), bias), dtype="float32")
    assert len(clock) == 1
    layer.use_plan(plan)
    with pytest.raises(tnl.TNLayersError, match=r"use_plan\(None\)"):
        layer.tune(100)


def test_sums_are_tuned_network_by_network(folder, clock):
    plan = tnl.plan("mpo(in=4x4, out=4x4, bond=4) + lowrank(in=16, out=16, rank=2)", 32, tune=True)
    assert len(plan.terms) == len(clock) == 2


def test_refusals(tmp_path, monkeypatch, clock):
    with pytest.raises(tnl.TNLayersError, match="leave one of the two"):
        tnl.plan(SPEC, 8, optimize="dp", tune=True)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path / "file"))
    with pytest.warns(tnl.TNLayersWarning, match="TNLAYERS_CACHE to a folder"):
        assert tnl.plan(SPEC, 8, tune=True).batch == 8  # the cache is a convenience: the plan is there


def test_the_command_tunes(folder, clock, capsys):
    with pytest.raises(SystemExit) as end:
        main(["plan", SPEC, "--batch", "128", "--tune", "--json"])
    assert not end.value.code
    assert tnl.Plan.from_json(capsys.readouterr().out) == clock[0][-1]
