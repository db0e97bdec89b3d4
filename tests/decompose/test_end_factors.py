"""Blast's start is the best matrix of its rank, in a metric too; its fit comes closer at as many parameters."""

import numpy as np
import pytest
from oracle import oracle_weight

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.compress import decompose
from tnlayers.decompose.end_factors import end_factors, from_low_rank

OPS = backend("numpy").ops
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.errors.TNLayersWarning")


def weight_and_moment():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 24)) * np.exp(-np.arange(24) / 6) @ np.linalg.qr(rng.standard_normal((24, 24)))[0]
    return rng.standard_normal((16, 24)), x.T @ x / len(x) + 1e-6 * np.eye(24)


@pytest.mark.parametrize("seen", [False, True])
def test_the_start_is_the_best_matrix_of_its_rank(seen):
    weight, moment = weight_and_moment()
    spec = tnl.spec("blast(in=3x8, out=2x8, rank=5)")
    cores = from_low_rank(OPS, spec.graph, weight, moment if seen else None, None)
    near = oracle_weight(spec, cores).value
    root = np.linalg.cholesky(moment) if seen else np.eye(24)
    values = np.linalg.svd(weight @ root, compute_uv=False)
    assert np.linalg.norm((weight - near) @ root) == pytest.approx(np.linalg.norm(values[5:]), rel=1e-8)


def test_ranks_beyond_the_weights_begin_small():
    weight, _ = weight_and_moment()
    spec = tnl.spec("blast(in=3x8, out=2x8, rank=20)")
    near = oracle_weight(spec, from_low_rank(OPS, spec.graph, weight, None, None)).value
    assert np.linalg.norm(weight - near) < 1e-12 * np.linalg.norm(weight)
    noisy = from_low_rank(OPS, spec.graph, weight, None, np.random.default_rng(0))
    assert all(np.abs(core[..., -1]).min() > 0 for core in noisy)
    assert np.linalg.norm(weight - oracle_weight(spec, noisy).value) < 0.05 * np.linalg.norm(weight)


@pytest.mark.parametrize("seen", [False, True])
def test_a_fit_comes_closer_than_low_rank_at_as_many_parameters(seen):
    weight, moment = weight_and_moment()
    known = {"covariance": moment} if seen else {}
    blast = decompose(weight, "blast(in=3x8, out=2x8)", max_params=200, **known)
    low = decompose(weight, "lowrank", max_params=200, **known)
    assert blast.parameters <= 200
    assert low.parameters == 200
    errors = [found.output_error if seen else found.error for found in (blast, low)]
    assert errors[0] < errors[1]


def test_a_weight_of_the_type_is_given_back():
    layer = tnl.build("blast(in=4x8, out=4x6, rank=5)", "numpy", seed=0, dtype="float64")
    found = decompose(layer.to_dense(), "blast(in=4x8, out=4x6, rank=5)", error=None, sweeps=300)
    assert found.error < 1e-3


@pytest.mark.parametrize(
    "text", ["kronecker(in=2x3, out=2x2)", "lowrank(in=6, out=4, rank=2)", "blast(in=1x6, out=1x4)"]
)
def test_other_networks_have_no_such_start(text):
    assert end_factors(tnl.spec(text).graph) is None
