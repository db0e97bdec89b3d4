"""`Plan.measure`: what is timed is the plan's own pass, beside the planner's, the candidates and the dense layer."""

from dataclasses import replace

import numpy as np
import pytest

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.cores import measuring
from tnlayers.cores.measuring import operands
from tnlayers.planning.measured import Measurement, Timed

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=4)"
BACKENDS = ("numpy", "torch", "jax")


def einsum(plan):
    pairs = zip(operands(plan.contraction, plan.dtype), plan.contraction.operands, strict=True)
    return np.einsum(*(each for pair in pairs for each in pair), plan.contraction.output, optimize="greedy")


@pytest.mark.parametrize("name", ["numpy", "jax"])
@pytest.mark.parametrize("objective", ["forward", "inference"])
@pytest.mark.parametrize("limited", [False, True])
def test_a_pass_computes_the_layer(name, objective, limited):
    """With chunks and slices too. torch draws by its own generator and is held to the others by its shape."""
    free = tnl.plan(SPEC, 64, objective=objective)
    plan = tnl.plan(SPEC, 64, objective=objective, memory_limit=free.memory // 4) if limited else free
    found = np.asarray(backend(name).timed(plan)()).reshape(64, -1)
    np.testing.assert_allclose(found, einsum(plan).reshape(64, -1), rtol=1e-3, atol=1e-3 * abs(found).max())


def test_a_pass_of_training_makes_all_gradients():
    plan = tnl.plan("mpo(in=4x7, out=2x5, bond=3)", 8, objective="training")
    shapes = [each.shape for each in operands(plan.contraction, plan.dtype)]
    for name in ("torch", "jax"):
        assert [tuple(gradient.shape) for gradient in backend(name).timed(plan)()] == shapes
    with pytest.raises(tnl.TNLayersError, match="numpy has no backward pass"):
        plan.measure("numpy")


@pytest.mark.parametrize("name", BACKENDS)
def test_rows(name):
    best = tnl.plan("mpo(in=4x7, out=2x5, bond=3)", 8)
    mine = tnl.plan("mpo(in=4x7, out=2x5, bond=3)", 8, optimize=[(0, 1), (0, 1)])
    found = mine.measure(name, seconds=0.01)
    names = [row.name for row in found.rows]
    assert names[:2] == ["this order", "planner"] if mine != best else ["this order"]
    assert names[-1] == "dense"
    assert found.rows[0].estimate == mine.seconds
    for row in found.rows:
        assert 0 < row.low <= row.seconds <= row.high
        assert row.passes >= 5


def test_medians_and_quartiles(monkeypatch):
    """Against a clock that is known."""
    monkeypatch.setattr(measuring, "_in_turns", lambda calls, _: {name: [4.0, 1.0, 2.0, 3.0, 5.0] for name in calls})
    row = tnl.plan("lowrank(in=8, out=4, rank=2)", 4).measure("numpy").rows[0]
    assert (row.low, row.seconds, row.high, row.passes) == (2.0, 3.0, 4.0, 5)


def test_turns():
    calls = {"a": 0, "b": 0}

    def run(name):
        calls[name] += 1

    times = measuring._in_turns({name: lambda name=name: run(name) for name in calls}, 1e-9)
    assert {len(taken) for taken in times.values()} == {5}
    assert min(calls.values()) >= 7


def test_text_picture_and_data():
    row = Timed(name="this order", seconds=6.13e-5, low=6e-5, high=7.2e-5, estimate=5e-5, passes=9)
    found = Measurement(
        title=SPEC,
        batch=8,
        backend="numpy",
        objective="forward",
        dtype="float32",
        rows=(row, replace(row, name="dense")),
    )
    line = str(found).splitlines()[2]
    assert line.split() == ["this", "order", "61.3", "us", "60", "us", "to", "72", "us", "50", "us", "1.23"]
    assert found.to_dict()["format"] == "tnlayers.measurement/1"
    assert found.draw().svg.count("estimated 50 us") == 2
    assert found._repr_html_()
    with pytest.raises(tnl.TNLayersError, match="drawn beside each other only"):
        tnl.draw(found, SPEC)


def test_refusals():
    plan = tnl.plan("lowrank(in=8, out=4, rank=2)", 4, dtype="bfloat16")
    with pytest.raises(tnl.TNLayersError, match="has no bfloat16"):
        plan.measure("numpy")
    with pytest.raises(tnl.TNLayersError, match="seconds=0"):
        plan.measure("torch", seconds=0)
    with pytest.raises(tnl.TNLayersError, match="nump"):
        plan.measure("nump")
    with pytest.raises(tnl.TNLayersError, match="jax computes in float32 in the place of float64"):
        tnl.plan("lowrank(in=8, out=4, rank=2)", 4, dtype="float64").measure("jax")
