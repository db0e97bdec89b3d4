"""Dense weights as networks: exact at full bond, within budgets and errors, and never worse than what was cut."""

import itertools
import runpy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import assert_close, oracle_weight
from places import DOCS

import tnlayers as tnl
from tnlayers.compress import decompose
from tnlayers.declare import registry
from tnlayers.decompose import sizes
from tnlayers.decompose.sizes import bonds_above, divided, least_for, tails

LOOP_FREE = ("mpo", "mpo(cores=2)", "mpo(cores=3)", "tree", "tucker", "lowrank", "kronecker")
FITTED = ("ring(cores=3)", "cp(cores=2)", "peps")
STRUCTURED = ("blockdiag", "monarch", "btt")


def matrix(out_features, in_features, seed=0):
    return np.random.default_rng(seed).standard_normal((out_features, in_features))


def smooth(out_features, in_features):
    i, j = np.arange(out_features), np.arange(in_features)
    return np.exp(-np.abs(i[:, None] / out_features - j[None, :] / in_features) * 5)


def quietly(weight, network, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        return decompose(weight, network, **keywords)


def rebuilt(found):
    return oracle_weight(found.spec, list(found.cores.values()))


def relative_error(weight, found):
    return float(np.linalg.norm(weight - rebuilt(found).value) / np.linalg.norm(weight))


SHAPES = [(12, 18), (1, 20), (20, 1), (13, 17), (7, 30), (32, 32)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", LOOP_FREE)
def test_everything_is_kept_at_error_zero(network, shape):
    weight = matrix(*shape)
    found = quietly(weight, network, error=0)
    expected = rebuilt(found)
    assert_close(weight, type(expected)(expected.value, expected.scale, expected.terms), dtype="float64")
    assert found.error < 1e-13
    assert found.spec.parameters == found.parameters


@pytest.mark.parametrize("network", LOOP_FREE)
def test_the_comparison_sees_a_bond_that_is_missing(network):
    weight = matrix(12, 18)
    assert relative_error(weight, quietly(weight, network, bond_dim=1)) > 0.1


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_other_dtypes(dtype):
    weight = (matrix(12, 18) + (1j * matrix(12, 18, 1) if dtype == "complex128" else 0)).astype(dtype)
    found = quietly(weight, "mpo(cores=3)", error=0)
    assert {str(core.dtype) for core in found.cores.values()} == {dtype}
    assert found.error < 1e-6
    torch_found = quietly(torch.from_numpy(weight), "mpo(cores=3)", error=0)
    assert torch_found.error < 1e-6
    assert torch_found.spec == found.spec


@pytest.mark.parametrize("network", LOOP_FREE)
@pytest.mark.parametrize("kind", [matrix, smooth])
def test_the_error_is_at_most_the_root_of_the_discarded_weight(network, kind):
    weight = kind(24, 36)
    found = quietly(weight, network, ratio=0.4)
    assert found.error == pytest.approx(relative_error(weight, found), rel=1e-9, abs=1e-13)
    assert found.error <= np.sqrt(found.discarded) * (1 + 1e-9) + 1e-14


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 8), st.integers(0, 99))
def test_truncation_of_any_shape(rows, columns, cores, bond, seed):
    weight = matrix(rows, columns, seed)
    found = quietly(weight, f"mpo(cores={cores})", bond_dim=bond)
    assert found.error <= np.sqrt(found.discarded) + 1e-13
    assert found.error == pytest.approx(relative_error(weight, found), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("network", [*LOOP_FREE, *FITTED, "blockdiag"])
@pytest.mark.parametrize("ratio", [0.5, 0.2])
def test_budgets_are_met(network, ratio):
    weight = smooth(36, 48)
    found = quietly(weight, network, ratio=ratio)
    assert found.parameters <= ratio * weight.size
    assert found.parameters == sum(core.size for core in found.cores.values())
    assert found.error < 1


def test_a_network_of_ones_own_is_fitted_like_any_other(monkeypatch):
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))
    runpy.run_path(str(DOCS / "examples" / "wheel.py"))
    planted = oracle_weight(*drawn("wheel(in=4x3x4, out=4x4x3, bond=2)")).value
    weight = planted + 0.01 * np.abs(planted).mean() * matrix(48, 48)
    assert decompose(weight, "wheel(in=4x3x4, out=4x4x3)", bond_dim=2, restarts=10, sweeps=200).error < 0.02
    assert quietly(weight, "wheel", ratio=0.1).parameters <= 230
    assert quietly(weight, "wheel", error=0.5).error <= 0.5
    registry.declare.cache_clear()


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_a_sum_of_networks_is_fitted_term_by_term(scale):
    planted = oracle_weight(*drawn("mpo(in=4x6, out=4x5, bond=2) + lowrank(in=24, out=20, rank=2)")).value
    weight = scale * (planted + 0.01 * np.abs(planted).mean() * matrix(20, 24))
    found = decompose(weight, "mpo(in=4x6, out=4x5, bond=2) + lowrank(in=24, out=20, rank=2)")
    assert found.error == pytest.approx(relative_error(weight, found), rel=1e-6)
    assert found.error < 0.02
    assert decompose(weight, "mpo(in=4x6, out=4x5, bond=2)").error > 0.3  # one term alone is not enough
    dense = torch.nn.Linear(24, 20)
    layer = tnl.nn.TNLinear.from_linear(dense, "mpo(cores=2, bond=3) + lowrank(rank=2)")
    assert layer.delivered.error < decompose(dense.weight.detach(), "mpo(cores=2, bond=3)").error


def drawn(text):
    spec = tnl.spec(text)
    return spec, [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(spec.shapes.values())]


def test_bonds_of_a_budget_are_near_the_best_of_all(monkeypatch):
    """By measured error; the comparison sees a common threshold on singular values, which is a third above."""
    weight = matrix(16, 16) * 0.8 ** np.arange(16)
    scale = sizes.Scale.of("tucker", 16, 16)
    every = (scale.at(bonds) for bonds in itertools.product(range(1, 5), repeat=4))
    least = min(decompose(weight, spec).error for spec in every if spec.parameters <= 64)
    assert quietly(weight, "tucker", max_params=64).error <= least * 1.02
    monkeypatch.setattr(sizes, "_EXCHANGES", 0)
    assert quietly(weight, "tucker", max_params=64).error > least * 1.3


def test_an_error_is_met_by_as_few_parameters_as_a_budget_would_take():
    weight = matrix(36, 48) * 0.9 ** np.arange(48)
    for network in ("tucker", "mpo", "mpo(cores=3)"):
        within = quietly(weight, network, ratio=0.3)
        asked = quietly(weight, network, error=within.error * (1 + 1e-9))
        assert asked.parameters <= 1.05 * within.parameters


def test_bonds_share_a_budget_by_what_they_carry():
    weight = matrix(128, 128) * np.exp(-np.arange(128) / 20)[:, None]  # rows that fade: the first bond carries little
    found = quietly(weight, "mpo(cores=3)", max_params=3_000)
    even = quietly(weight, "mpo(cores=3)", bond_dim=6)  # the largest one number that fits
    assert even.parameters <= found.parameters <= 3_000
    assert found.error < 0.9 * even.error


@pytest.mark.parametrize("network", ["mpo", "tree", "tucker", "lowrank", "ring(cores=3)"])
@pytest.mark.parametrize("error", [0.3, 0.05])
def test_errors_are_met(network, error):
    weight = smooth(36, 48)
    found = quietly(weight, network, error=error)
    assert relative_error(weight, found) <= error
    assert found.parameters < weight.size


@pytest.mark.parametrize("network", STRUCTURED)
def test_a_weight_of_the_structure_is_found(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        layer = tnl.build(tnl.spec(network, 24, 36), backend="numpy", seed=3, dtype="float64")
    found = quietly(layer.to_dense(), layer.spec, sweeps=300)
    assert found.error < 1e-4, found


def test_alternating_least_squares_never_gets_worse():
    weight = matrix(24, 36)
    errors = [quietly(weight, "ring(cores=3, bond=3)", sweeps=n, restarts=1).error for n in (1, 2, 5, 20)]
    assert errors == sorted(errors, reverse=True)
    svd = quietly(weight, "tucker(bond=3)")
    assert quietly(weight, "tucker(bond=3)", sweeps=20).error <= svd.error


@pytest.mark.parametrize("scale", [1e-200, 1e200, 0.0])
def test_weights_of_any_scale(scale):
    weight = smooth(12, 18) * scale
    found = quietly(weight, "mpo(cores=3)", ratio=0.9)
    assert all(np.isfinite(core).all() for core in found.cores.values())
    cores = [core / scale ** (1 / len(found.cores)) if scale else core for core in found.cores.values()]
    small = oracle_weight(found.spec, cores).value
    np.testing.assert_allclose(small, smooth(12, 18) * bool(scale), atol=0.02)
    norms = sorted(np.linalg.norm(core) for core in found.cores.values())
    if not scale:  # one core is zero and the others are drawn, so that a gradient flows
        assert norms.pop(0) == 0
        assert norms[0] > 0
    assert norms == pytest.approx([norms[0]] * len(norms))


def test_rank_deficient_weights_get_small_bonds():
    weight = np.outer(np.arange(1.0, 13), np.arange(1.0, 19))
    found = quietly(weight, "lowrank", error=1e-10)
    assert found.spec == tnl.spec("lowrank(rank=1)", 18, 12)


def test_thresholds_by_hand():
    spectra = [[9.0, 4.0, 1.0], [16.0, 0.5, 0.25]]
    assert bonds_above(spectra, 0.5) == (3, 1)
    assert tails(spectra, (2, 1)) == 1.75
    assert least_for(spectra, 1.75) == (2, 1)
    assert least_for(spectra, 0.0) == (3, 3)


def test_a_layer_from_a_dense_one():
    torch.manual_seed(0)
    dense = torch.nn.Linear(36, 24)
    before = {key: value.clone() for key, value in dense.state_dict().items()}
    x = torch.randn(5, 36)
    for kind, network in ((tnl.nn.MPOLinear, "mpo"), (tnl.nn.TNLinear, "tree"), (tnl.nn.TNLinear, "lowrank")):
        layer = kind.from_linear(dense, network, error=0)
        assert type(layer) is kind
        torch.testing.assert_close(layer(x), dense(x), rtol=1e-4, atol=1e-5)
        assert layer.delivered.error < 1e-6
        assert layer.delivered.asked == "error=0"
    small = tnl.nn.MPOLinear.from_linear(dense, bond_dim=2, cores=3)
    assert small.spec.bond_dim == 2
    assert "relative error" in str(small.delivered)
    assert all(torch.equal(before[key], value) for key, value in dense.state_dict().items())
    small(x).sum().backward()
    assert small.core_0.grad is not None


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda w: decompose(w * np.nan, ratio=0.5), "216 of the 216 entries of the weight are NaN"),
        (lambda w: decompose(w, ratio=0.5, error=0.1), "ratio=0.5, error=0.1 were given together"),
        (lambda w: decompose(w), "exactly one of bond_dim="),
        (lambda w: decompose(w, max_params=2), "2 were allowed"),
        (lambda w: decompose(w, max_params=0), "max_params=0 must be an integer of at least 1"),
        (lambda w: decompose(w, ratio=-1), "ratio=-1 must be a number of at least 0"),
        (lambda w: decompose(w, "monarch", error=0.01), "monarch.* has a relative error of"),
        (
            lambda w: decompose(w, "tree(cores=3)", max_params=100, strict=True),
            "allows 100 parameters; the nearest",
        ),
        (lambda w: decompose(w[0], ratio=0.5), r"got \(18,\)"),
        (lambda w: decompose(w, "mpo + lowrank", error=0.1), "is a sum: give its terms sizes"),
        (lambda w: decompose(w, "mpo + lowrank", max_params=5), "5 parameters are too few for the smallest"),
        (lambda w: decompose(w, ratio=1.7), r"ratio=1\.7 is more than the dense weight"),
        (lambda w: decompose(torch.from_numpy(w).to("meta"), ratio=0.5), "on the meta device"),
        (lambda w: tnl.nn.TNLinear.from_linear(torch.nn.ReLU(), error=0), "takes an nn.Linear, got a ReLU"),
    ],
)
def test_refusals(ask, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        with pytest.raises(tnl.TNLayersError, match=message):
            ask(matrix(12, 18))


def test_a_budget_met_from_far_below_is_told():
    with pytest.warns(tnl.TNLayersWarning, match="allows 100 parameters; the nearest below is tree"):
        decompose(matrix(12, 18), "tree(cores=3)", max_params=100)


def test_no_bond_fits():
    assert divided_nothing() is None


def divided_nothing():
    from tnlayers.decompose.sizes import Scale

    return divided(Scale.of("mpo(cores=2)", 18, 12), [[1.0]], lambda spec: False)
