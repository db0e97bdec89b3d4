"""E[W^2] is what was asked: exactly by formula, and within 4 standard errors over seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import assert_sampled
from specs import MARKET
from variance import weight_variance

import tnlayers as tnl
from tnlayers.cores.initialise import core_norms, default_variance, draw_bias, draw_layer


@pytest.mark.parametrize("target", [1.0, 1 / 3, 1e-12, 1e6])
@pytest.mark.parametrize("name", MARKET)
def test_the_formula_gives_the_target(name, target):
    graph = tnl.spec(MARKET[name]).graph
    norms = core_norms(graph, target)
    assert weight_variance(graph, norms) == pytest.approx(target, rel=1e-12)
    assert len(set(norms.values())) == 1


@given(st.integers(2, 8), st.integers(1, 64), st.floats(1e-6, 1e3))
def test_the_formula_for_every_depth_and_bond(cores, bond, target):
    """The norm is sigma_k^2 = target^(1/n) * ...: the product of core variances times the bonds is the target."""
    graph = chain(cores, bond)
    variances = [norm**2 / np.prod(graph.shapes[name]) for name, norm in core_norms(graph, target).items()]
    assert np.prod(variances) * float(bond) ** (cores - 1) == pytest.approx(target, rel=1e-9)


def chain(cores, bond):
    """An MPO graph with uniform bonds, clipped by nothing."""
    net = tnl.Declaration()
    nodes = []
    for k in range(cores):
        left = {"left": bond} if k else {}
        right = {"right": bond} if k < cores - 1 else {}
        nodes.append(net.core(f"core_{k}", **left, inp=2, out=2, **right))
    for k in range(cores - 1):
        nodes[k]["right"] ^ nodes[k + 1]["left"]
    return net.linear(inputs=[c["inp"] for c in nodes], outputs=[c["out"] for c in nodes])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", MARKET)
def test_the_sample_over_seeds(name, dtype):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, "numpy", dtype=dtype)
    samples = []
    for seed in range(64):
        layer.cores = draw_layer(spec.graphs, 0.25, np.random.default_rng(seed), dtype)
        assert {core.dtype.name for core in layer.cores.values()} == {dtype}
        samples.append(float(np.mean(np.abs(layer.to_dense()) ** 2)))
    assert_sampled(samples, 0.25)


@pytest.mark.parametrize("bond", [1, 4, 16, 64])
@pytest.mark.parametrize("cores", [2, 4, 8])
def test_the_sample_for_depths_and_bonds(cores, bond):
    graph = chain(cores, bond)
    samples = []
    for seed in range(64):
        drawn = draw_layer([graph], 2.0, np.random.default_rng(seed))
        # E over all entries of W^2 by carrying the second moment of one random column through the chain.
        v = np.ones((1, 1))
        for k, core in enumerate(drawn.values()):
            core = core.reshape(1 if k == 0 else bond, 4, 1 if k == cores - 1 else bond)
            v = np.einsum("bpi,bpj->ij", np.einsum("ab,api->bpi", v, core), core, optimize=True) / 4
        samples.append(v.item())
    assert_sampled(samples, 2.0)


def test_the_sample_has_teeth():
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError):
        assert_sampled(1.1 + 0.1 * rng.standard_normal(64), 1.0)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_fresh_layer_has_the_variance_of_nn_linear(backend):
    layers = [tnl.build("mpo(in=4x7x4, out=4x4x4, bond=8)", backend, seed=seed) for seed in range(32)]
    dense = [np.asarray(layer.to_dense().detach() if backend == "torch" else layer.to_dense()) for layer in layers]
    assert_sampled([float((w * w).mean()) for w in dense], 1 / (3 * 112))
    assert default_variance(112) == 1 / (3 * 112)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_norms_are_exact_not_only_on_average(dtype):
    graph = tnl.spec(MARKET["mpo-4"]).graph
    drawn = draw_layer([graph], 0.5, np.random.default_rng(0), dtype)
    for name, norm in core_norms(graph, 0.5).items():
        assert np.linalg.norm(drawn[name]) == pytest.approx(norm, rel=1e-12)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_variances_are_refused(variance):
    with pytest.raises(tnl.TNLayersError, match="positive and finite"):
        core_norms(tnl.spec(MARKET["mpo-2"]).graph, variance)


def test_a_complex_bias_has_the_mean_square_of_a_real_one():
    rng = np.random.default_rng(0)
    for dtype in ("float32", "complex64"):
        drawn = draw_bias(5, 10_000, rng, dtype)
        assert np.iscomplexobj(drawn) == (dtype == "complex64")
        assert_sampled(np.abs(drawn) ** 2, 1 / 15)
