"""Exact fits: planted networks are found at their size, closed forms hold any weight, cuts rule out what cannot be."""

import numpy as np
import pytest
from oracle import oracle_weight

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.decompose.alternating import fit
from tnlayers.decompose.cuts import Cuts
from tnlayers.decompose.decomposition import decompose
from tnlayers.decompose.fibres import from_fibres, on_one_edge
from tnlayers.decompose.gauss_newton import exactly
from tnlayers.decompose.tangent import Tangent, affordable
from tnlayers.decompose.tied_tree import is_tied_tree, split_tied

OPS = backend("numpy").ops
EPS = float(np.finfo("float64").eps)

# A network and how many parameters an exact one of its type needs: those of the planted one, or fewer.
PLANTED = [
    "cp(in=3x4, out=4x3, rank=2)",
    "cp(in=4x3x2, out=3x2x4, rank=5)",
    "cp(in=12, out=9, rank=4)",
    "kronecker(in=3x2x4, out=2x3x2, terms=4)",
    "kronecker(in=4x6, out=6x4, terms=3)",
    "block_term(in=3x4x2, out=4x2x3, bond=2, terms=2)",
    "ring(in=2x4x3, out=4x2x3, bond=2)",
    "ring(in=4x4x4, out=4x4x4, bond=3)",
    "tucker(in=4x4x4, out=4x4x4, bond=2)",
    "mpo(in=4x3x4, out=3x4x3, bond=3)",
    "btt(in=4x6, out=6x4, rank=2)",
    "btt(in=2x4x2, out=4x2x4, rank=2)",
    "tree(in=4x3x4, out=3x4x3, bond=3)",
    "peps(in=3x2x2x3, out=2x3x3x2, bond=2)",
    "mera(in=3x2x2x3, out=2x3x3x2, bond=2)",
]


def template(text):
    """The type and modes of a spec, without its size."""
    made = tnl.spec(text)
    ins, outs = ("x".join(map(str, side)) for side in made.modes)
    return f"{made.network}(in={ins}, out={outs})"


def planted(text, seed=3):
    return np.asarray(tnl.build(text, "numpy", seed=seed, dtype="float64").to_dense())


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_network_is_found_at_its_size(text, seed):
    weight = planted(text, seed)
    found = decompose(weight, template(text), error=0)
    assert found.parameters <= tnl.spec(text).parameters
    near = oracle_weight(found.spec, list(found.cores.values())).value
    assert np.linalg.norm(near - weight) <= 200 * EPS * np.linalg.norm(weight)


FULL = ("cp", "kronecker(cores=3)", "ring", "peps", "block_term", "mera", "btt", "btt(cores=3)")


@pytest.mark.parametrize("network", FULL)
def test_a_full_weight_is_held_exactly(network):
    weight = np.random.default_rng(0).standard_normal((8, 12))
    found = decompose(weight, network, error=0)
    near = oracle_weight(found.spec, list(found.cores.values())).value
    assert np.linalg.norm(near - weight) <= 200 * EPS * np.linalg.norm(weight)


# The largest ranks that any weight of these sizes needs by the closed form alone; fits find fewer.
@pytest.mark.parametrize(("network", "closed"), {"cp": 24, "kronecker(cores=3)": 24}.items())
def test_fits_find_fewer_terms_than_the_closed_form(network, closed):
    weight = np.random.default_rng(0).standard_normal((8, 12))
    found = decompose(weight, network, error=0)
    (index,) = found.spec.graph.summed
    assert found.spec.graph.sizes[index] < closed


def test_a_ring_may_be_a_chain():
    weight = planted("mpo(in=4x2x4, out=4x2x4, bond=3-5)")
    found = decompose(weight, "ring(in=4x2x4, out=4x2x4)", error=0)
    assert found.parameters <= tnl.spec("mpo(in=4x2x4, out=4x2x4, bond=3-5)").parameters
    loose = decompose(weight, "ring(in=4x2x4, out=4x2x4)", error=0.3)
    assert loose.error <= 0.3
    assert loose.parameters < found.parameters


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_exact_in_other_dtypes(dtype):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 8)) + (1j * rng.standard_normal((6, 8)) if dtype == "complex128" else 0)
    for network in ("cp", "ring", "kronecker(cores=3)", "btt"):
        found = decompose(weight.astype(dtype), network, error=0)
        assert found.error <= 100 * np.finfo(dtype).eps


def test_the_derivative_is_that_of_the_weight():
    for text in ("cp(in=2x3, out=3x2, rank=4)", "peps(in=2x2x2x2, out=2x2x2x2, bond=3)", "btt(in=2x2x2, out=2x2x2)"):
        spec = tnl.spec(text)
        graph, rng = spec.graph, np.random.default_rng(0)
        assert affordable(graph)
        cores = [rng.standard_normal(shape) for shape in graph.shapes.values()]
        step = [rng.standard_normal(shape) for shape in graph.shapes.values()]
        tangent = Tangent.at(OPS, graph, cores)
        change = tangent.change([tangent.matrix(k, core) for k, core in enumerate(step)])
        ends = [oracle_weight(spec, [c + h * s for c, s in zip(cores, step, strict=True)]).value for h in (1e-4, -1e-4)]
        slope = (ends[0] - ends[1]) / 2e-4
        assert np.linalg.norm(change.reshape(slope.shape) - slope) < 1e-6 * np.linalg.norm(slope)
        back = tangent.pulled(change)
        inner = sum((tangent.matrix(k, s) * b).sum() for k, (s, b) in enumerate(zip(step, back, strict=True)))
        assert inner == pytest.approx((change**2).sum())
        square = tangent.square()
        assert np.allclose(square @ change.reshape(-1), tangent.change(back).reshape(-1))


def test_both_ways_to_a_step_end_at_the_weight(monkeypatch):
    graph, rng = tnl.spec("ring(in=2x2x2, out=2x2x2, bond=4)").graph, np.random.default_rng(0)
    start, weight = [rng.standard_normal(shape) for shape in graph.shapes.values()], rng.standard_normal((8, 8))
    for entries in (0, 400):
        monkeypatch.setattr("tnlayers.decompose.gauss_newton._DIRECT", entries)
        assert exactly(OPS, graph, weight, start, goal=1e-13)[1] <= 1e-13


@pytest.mark.parametrize("text", ["cp(in=3x2, out=2x4, rank=12)", "kronecker(in=2x2x2, out=3x2x1, terms=8)"])
def test_fibres_hold_any_weight(text):
    spec = tnl.spec(text)
    assert on_one_edge(spec.graph)
    weight = np.random.default_rng(0).standard_normal((spec.out_features, spec.in_features))
    near = oracle_weight(spec, from_fibres(OPS, spec.graph, weight, 0.0)).value
    assert np.linalg.norm(near - weight) < 1e-13 * np.linalg.norm(weight)
    fewer = {"cp(in=3x2, out=2x4, rank=12)": "cp(in=3x2, out=2x4, rank=11)"}.get(text)
    assert fewer is None or from_fibres(OPS, tnl.spec(fewer).graph, weight, 0.0) is None


@pytest.mark.parametrize("text", ["btt(in=4x3, out=2x6, rank=2)", "monarch(in=4x4, out=4x4)"])
def test_two_cores_that_share_modes_are_closest_by_svds(text):
    spec = tnl.spec(text)
    assert is_tied_tree(spec.graph)
    weight = np.random.default_rng(0).standard_normal((spec.out_features, spec.in_features))
    cores = split_tied(OPS, spec.graph, weight)
    error = np.linalg.norm(oracle_weight(spec, cores).value - weight)
    for core in cores:  # stationary: no entry alone can be better
        for place in ((0,) * core.ndim, (-1,) * core.ndim):
            for change in (1e-3, -1e-3):
                core[place] += change
                assert np.linalg.norm(oracle_weight(spec, cores).value - weight) > error
                core[place] -= change
    start = [np.random.default_rng(1).standard_normal(core.shape) for core in cores]
    assert fit(OPS, spec.graph, weight, start, sweeps=100)[1] >= error / np.linalg.norm(weight) * (1 - 1e-12)


@pytest.mark.parametrize("text", PLANTED)
def test_cuts_never_rule_out_what_holds_the_weight(text):
    weight = planted(text)
    cuts = Cuts(OPS, (100 * EPS) ** 2 * float((weight**2).sum()))
    assert cuts.allow(tnl.spec(text).graph, weight)
    full = np.random.default_rng(0).standard_normal(weight.shape)
    assert not Cuts(OPS, 1e-20).allow(tnl.spec(text).graph, full)
