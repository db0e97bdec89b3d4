"""A budget of parameters, flops or error is met, or the refusal says what can be."""

from __future__ import annotations

import warnings

import pytest
from small_models import count, mlp

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize("ratio", [0.5, 0.2, 0.1, 0.05])
def test_a_ratio_is_met_within_two_percent(ratio):
    model = mlp()
    result = tnl.compress(model, ratio=ratio)
    assert 0.98 * ratio < count(result.model) / count(model) <= ratio
    assert result.report.after.parameters == count(result.model)
    assert result.report.ratio == count(result.model) / count(model)


def test_max_params_counts_the_same_way():
    assert 19_600 < count(tnl.compress(mlp(), max_params=20_000, network=["mpo(cores=3)", "lowrank"]).model) <= 20_000


def test_of_the_replaced_layers_alone():
    model = nn.Sequential(nn.Embedding(1000, 64), nn.Linear(64, 512), nn.Linear(512, 256))
    result = tnl.compress(model, ratio=0.3, ratio_of="replaced", rules={"0": None}, network="lowrank")
    assert 0.98 * 0.3 < count(result.model[1:]) / count(model[1:]) <= 0.3
    assert result.model[0].weight.equal(model[0].weight)


def test_error_bounds_every_layer():
    result = tnl.compress(mlp(), error=0.5, network="lowrank")
    assert all(layer.error <= 0.5 for layer in result.report.layers)
    assert result.report.ratio < 1


def test_max_flops():
    result = tnl.compress(mlp(), max_flops=100_000, network=["mpo(cores=2)", "lowrank"])
    assert result.report.after.flops <= 100_000 < result.report.before.flops
    with pytest.raises(tnl.TNLayersError, match="size of its images"):
        tnl.compress(nn.Sequential(nn.Conv2d(8, 8, 3)), max_flops=100)


def test_exactly_one_budget():
    with pytest.raises(tnl.TNLayersError, match=r"ratio=0\.5, error=0\.1 given"):
        tnl.compress(mlp(), ratio=0.5, error=0.1)
    with pytest.raises(tnl.TNLayersError, match="exactly one of"):
        tnl.compress(mlp())
    with pytest.raises(tnl.TNLayersError, match="single Linear"):
        tnl.compress(nn.Linear(9, 9), ratio=0.5)
    with pytest.raises(tnl.TNLayersError, match="no layer"):
        tnl.compress(nn.ReLU(), ratio=0.5)


def test_a_coarse_model_is_told_or_refused():
    model = nn.Sequential(nn.Linear(12, 12, bias=False))
    with pytest.warns(tnl.TNLayersWarning, match="nearest below is 120, the next above 144"):
        tnl.compress(model, max_params=143, network="lowrank")
    with pytest.raises(tnl.TNLayersError, match="nearest below is 120"):
        tnl.compress(model, max_params=143, network="lowrank", strict=True)


def test_one_of_two_equal_layers_stays_dense_where_that_leaves_less_error():
    """Dense beside a size that steps of falling gain have passed is the best of all ranks, by 19 % in error."""
    values = torch.cat([torch.full((8,), 4.0), torch.arange(1.0, 57.0) ** -0.2])
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    for layer in (model[0], model[2]):
        layer.weight = nn.Parameter(values.diag())
    layers = tnl.compress(model, ratio=0.65, network="lowrank").report.layers
    losses = {r * 128: float((values[r:] ** 2).sum() / (values**2).sum()) for r in range(1, 32)} | {4096: 0.0}
    best = min(losses[a] + losses[b] for a in losses for b in losses if a + b <= 0.65 * 8192)
    assert sum(layer.error**2 for layer in layers) == pytest.approx(best, rel=1e-4)
    assert sorted(layer.after.parameters for layer in layers) == [1152, 4096]


def test_no_warning_where_the_budget_is_met():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = tnl.compress(mlp(), ratio=0.35).report
    assert 0.98 * 0.35 < report.ratio <= 0.35
