"""Sums of networks: `a + b` is one layer whose weight is the sum of the terms' weights."""

import copy
import pickle

import numpy as np
import pytest
from absent import framework
from layer_arrays import assert_gradients, inputs, to, values
from oracle import Expected, assert_close, oracle_forward, oracle_weight
from sampled import assert_sampled
from specs import MARKET, SUMS
from variance import weight_variance

import tnlayers as tnl
from tnlayers.cores.initialise import draw_layer

torch = framework("torch")


@pytest.mark.parametrize("text", SUMS.values(), ids=SUMS)
def test_the_printed_string_json_and_yaml_read_back(text):
    spec = tnl.spec(text)
    assert str(spec) == text
    for twin in (
        tnl.spec(str(spec)),
        tnl.spec(spec),
        tnl.spec(spec.to_dict()),
        tnl.Spec.from_json(spec.to_json()),
        tnl.Spec.from_yaml(spec.to_yaml()),
    ):
        assert twin == spec
        assert hash(twin) == hash(spec)
        assert twin.bias == spec.bias
    assert spec.sized
    assert spec.parameters == sum(term.parameters for term in spec.terms)


def test_specs_add():
    a, b = tnl.spec(MARKET["mpo-2"]), tnl.spec("mpo(in=12, out=10)")
    assert str(a + b) == f"{a} + {b}"
    assert (a + b + a).terms == (a, b, a)
    assert list((a + b).shapes) == ["mpo1_core_0", "mpo1_core_1", "mpo2_core_0"]
    template = tnl.spec("mpo(bond=2) + mpo(cores=2, bond=1)")
    assert not template.sized
    assert tnl.spec(template, 12, 10) == tnl.spec(str(template), 12, 10)
    assert tnl.spec(template, 12, 10, bias=True).bias


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", SUMS)
def test_values(name, backend, dtype):
    spec = tnl.spec(SUMS[name])
    layer = tnl.build(spec, backend=backend, seed=5, dtype=dtype)
    cores, bias = values(layer)
    assert {key: np.shape(core) for key, core in layer.cores.items()} == spec.shapes
    for leading in ((), (0,), (5,), (2, 3)):
        x = inputs(spec, leading, dtype)
        assert_close(layer(to(backend, x)), oracle_forward(spec, cores, x, bias), dtype=dtype)
    assert_close(layer.to_dense(), oracle_weight(spec, cores), dtype=dtype)


@pytest.mark.parametrize("name", SUMS)
def test_gradients(name):
    spec = tnl.spec(SUMS[name])
    assert_gradients(spec, tnl.build(spec, seed=5), (5,), "float32")


def test_the_comparison_sees_one_term_missing():
    spec = tnl.spec(SUMS["sum-2"])
    layer = tnl.build(spec, backend="numpy", seed=5, dtype="float64")
    cores, _ = values(layer)
    first = oracle_weight(spec.terms[0], cores[: len(spec.terms[0].graph.cores)])
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer.to_dense(), Expected(first.value, first.scale, first.terms), dtype="float64")


@pytest.mark.parametrize("name", SUMS)
def test_the_terms_share_the_variance(name):
    spec = tnl.spec(SUMS[name])
    layer = tnl.build(spec, "numpy", dtype="float64")
    samples = []
    for seed in range(64):
        layer.cores = draw_layer(spec.graphs, 0.25, np.random.default_rng(seed))
        samples.append(float(np.mean(layer.to_dense() ** 2)))
        norms = {k: float(np.linalg.norm(v)) for k, v in layer.cores.items()}
        shares = [weight_variance(graph, {n: norms[n] for n in graph.shapes}) for graph in spec.graphs]
        assert shares == pytest.approx([0.25 / len(shares)] * len(shares), rel=1e-9)
    if not any(term.pad_in or term.pad_out for term in spec.terms):  # cut rows are drawn too, and not seen here
        assert_sampled(samples, 0.25)


def test_the_torch_layer_is_a_module_like_any_other():
    layer = tnl.nn.TNLinear(12, 10, network="mpo(cores=2, bond=3) + low_rank(rank=2, cores=1)", seed=0)
    assert list(layer.state_dict()) == ["mpo_core_0", "mpo_core_1", "low_rank_a", "low_rank_s", "low_rank_b", "bias"]
    x = torch.randn(3, 12)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
    assert "mpo(in=3x4, out=2x5, bias=true, bond=3) + low_rank(in=12, out=10, rank=2)" in repr(layer)


def test_plans():
    spec = tnl.spec(SUMS["sum-alike"])
    plan = tnl.plan(spec, batch=8, objective="training")
    assert len(plan.terms) == 3
    assert plan.cost.flops == sum(term.cost.flops for term in plan.terms) + 2 * 8 * 10  # two additions of (8, 10)
    assert tnl.Plan.from_json(plan.to_json()) == plan
    assert "sum of 3 terms" in str(plan)
    layer = tnl.build(spec, seed=0)
    layer.use_plan(plan)
    assert layer.plan_for(1) is plan
    with pytest.raises(tnl.TNLayersError, match="not for mpo"):
        layer.use_plan(tnl.plan(spec.terms[0], batch=8))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: tnl.spec("mpo(in=3x4, out=2x5) + mpo(in=3x4, out=2x6)"), r"mpo.in=3x4, out=2x6.* .12 -> 12."),
        (lambda: tnl.spec("mpo(in=3x4, out=2x5) + mpo(bond=2)"), r"mpo.bond=2. .no sizes."),
        (lambda: tnl.spec("mpo + mpo", 12, 10, bond_dim=3), "bond_dim cannot be given for the sum"),
        (lambda: tnl.spec("mpo + "), "Cannot read the spec ''"),
        (lambda: tnl.spec({"terms": ["mpo"]}), "a list of at least two specs"),
        (lambda: tnl.spec({"terms": ["mpo", "mpo"], "bond_dim": 3}), "everything else belongs to a term"),
        (lambda: tnl.spec(SUMS["sum-2"]).graph, "a sum of 2 networks"),
        (lambda: tnl.spec(SUMS["sum-2"]).bond_dim, "each of its terms has a bond_dim of its own"),
        (lambda: tnl.build("mpo + mpo"), "a template"),
    ],
)
def test_refusals(ask, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        ask()
