"""Budgets of sums: divided among the terms by the measured error, never above the budget."""

import numpy as np
import pytest
from oracle import oracle_weight

import tnlayers as tnl
from tnlayers.compress import decompose

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.errors.TNLayersWarning")


def low_rank_and_grid(rank, bond, size=32):
    """A weight that is exactly a matrix of low rank and an MPO."""
    low = tnl.build(f"lowrank(in={size}, out={size}, rank={rank})", "numpy", seed=0, dtype="float64").to_dense()
    grid = tnl.build(f"mpo(in=4x8, out=4x8, bond={bond})", "numpy", seed=1, dtype="float64").to_dense()
    return np.asarray(low) + np.asarray(grid)


def error_of(weight, found):
    return np.linalg.norm(weight - oracle_weight(found.spec, list(found.cores.values())).value) / np.linalg.norm(weight)


@pytest.mark.parametrize(("rank", "bond"), [(1, 4), (5, 1)])
def test_the_larger_part_goes_where_the_weight_needs_it(rank, bond):
    weight = low_rank_and_grid(rank, bond)
    spec = tnl.spec(f"lowrank(rank={rank}) + mpo(in=4x8, out=4x8, bond={bond})", 32, 32)
    found = decompose(weight, "lowrank + mpo(cores=2)", max_params=spec.parameters)
    assert found.parameters <= spec.parameters
    assert found.error == pytest.approx(error_of(weight, found), rel=1e-6)
    assert found.error < 1e-4  # nothing is left out
    assert decompose(weight, _halves(spec.parameters)).error > 0.1
    for alone in ("lowrank", "mpo(in=4x8, out=4x8)"):
        assert found.error < 0.9 * decompose(weight, alone, max_params=spec.parameters).error


def _halves(limit):
    """The sum of the largest terms of half a budget each."""
    return f"lowrank(rank={limit // 2 // 64}) + mpo(cores=2, bond={limit // 2 // 80})"


def test_outputs_decide_where_there_is_a_sample():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((32, 32))
    x = rng.standard_normal((200, 32)) * np.exp(-np.arange(32) / 8) @ np.linalg.qr(rng.standard_normal((32, 32)))[0]
    moment = x.T @ x / len(x)
    found = decompose(weight, "lowrank + mpo(cores=2)", ratio=0.5, covariance=moment)
    assert found.parameters <= 512
    for alone in ("lowrank", "mpo(cores=2)"):
        assert found.output_error < decompose(weight, alone, ratio=0.5, covariance=moment).output_error
    assert found.output_error < decompose(weight, str(found.spec)).error  # and not the weight's own norm


def test_a_term_of_written_size_keeps_it():
    found = decompose(low_rank_and_grid(2, 2), "lowrank(rank=3) + mpo(cores=2)", ratio=0.5)
    assert dict(found.spec.terms[0].options)["rank"] == 3
    assert found.parameters <= 512


def test_what_cannot_be_divided_is_refused_in_words():
    weight = np.eye(32)
    with pytest.raises(tnl.TNLayersError, match="size of every term is written"):
        decompose(weight, "lowrank(rank=3) + mpo(cores=2, bond=2)", ratio=0.5)
    with pytest.raises(tnl.TNLayersError, match="70 parameters are too few for the smallest"):
        decompose(weight, "lowrank + mpo(cores=2)", max_params=70)
    with pytest.raises(tnl.TNLayersError, match="Only a budget of parameters is divided"):
        decompose(weight, "lowrank + mpo(cores=2)", error=0.1)


def test_layers_take_a_divided_sum():
    torch = pytest.importorskip("torch")
    dense = torch.nn.Linear(32, 32)
    layer = tnl.nn.TNLinear.from_linear(dense, "lowrank + mpo(cores=2)", ratio=0.5)
    assert layer.spec.network == "sum"
    assert layer(torch.zeros(3, 32)).shape == (3, 32)
    assert layer.delivered.parameters <= 512
