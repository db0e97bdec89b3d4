"""A layer on jax is a value: parameters apart, drawn anew, given another plan, saved and compared."""

import copy
import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_cases import BIAS, ROWS, SOME, normal, values
from oracle import assert_close, oracle_forward, oracle_weight

import tnlayers as tnl
from tnlayers.cores.initialise import default_variance


@pytest.mark.parametrize(
    ("dtype", "other"),
    [("float16", "numpy"), ("float32", "numpy"), ("complex64", "numpy"), ("float32", "torch"), ("bfloat16", "torch")],
)
def test_the_same_seed_gives_the_same_cores(dtype, other):
    for text in (ROWS[name] for name in SOME):
        ours, theirs = (tnl.build(text, backend=name, seed=7, dtype=dtype) for name in ("jax", other))
        found = theirs.cores | ({} if theirs.bias is None else {"bias": theirs.bias})
        assert list(ours.cores) == list(theirs.cores)
        assert set(ours.params) == set(found)
        for name, core in found.items():
            core = core.detach().float().numpy() if other == "torch" else core
            assert np.array_equal(np.asarray(ours.params[name]).astype(core.dtype), core), name


def test_without_a_seed_each_layer_is_another():
    one, other = (tnl.build(BIAS, backend="jax", seed=None) for _ in range(2))
    assert not np.array_equal(one.cores["core_0"], other.cores["core_0"])


@pytest.mark.parametrize(("name", "dtype"), [("mpo-bias", "bfloat16"), ("sum-bias", "complex64")])
def test_init_draws_parameters_of_the_layers_own_kind(name, dtype):
    layer = tnl.build(ROWS[name], backend="jax", dtype=dtype)
    init = jax.jit(layer.init)
    params = init(jax.random.key(3))
    assert {k: (p.shape, p.dtype) for k, p in params.items()} == {
        k: (p.shape, p.dtype) for k, p in layer.params.items()
    }
    again, others = init(jax.random.key(3)), init(jax.random.key(4))
    for k in params:
        assert_close(again[k], np.asarray(params[k]), dtype=dtype, terms=1)
        assert not np.array_equal(params[k], others[k])


@pytest.mark.parametrize(("name", "dtype"), [("mpo-bias", "float32"), ("sum-bias", "complex64")])
def test_init_gives_the_weight_its_variance(name, dtype):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, backend="jax", dtype=dtype)
    drawn = jax.jit(jax.vmap(layer.init))(jax.random.split(jax.random.key(0), 256))
    weights = jax.jit(jax.vmap(lambda params: replace(layer, params=params).weight))(drawn)
    of_weights = np.square(np.abs(weights)).mean(axis=(1, 2))
    of_biases = np.square(np.abs(drawn["bias"])).mean(axis=1)
    for squares in (of_weights, of_biases):
        assert abs(squares.mean() - default_variance(spec.in_features)) < 4 * squares.std(ddof=1) / 16


def test_apply_is_the_layer_with_other_parameters():
    layer = tnl.build(BIAS, backend="jax")
    params, x = layer.init(jax.random.key(1)), normal((3, 12), "float32")
    y = jax.jit(layer.apply)(params, x)
    cores = [np.asarray(params[name]) for name in layer.cores]
    assert_close(y, oracle_forward(layer.spec, cores, x, np.asarray(params["bias"])), dtype="float32")


def test_apply_refuses_other_parameters():
    layer = tnl.build(BIAS, backend="jax")
    short = {name: p for name, p in layer.params.items() if name != "bias"}
    wrong = layer.params | {"core_0": jnp.zeros((2, 4, 2))}
    for params, part in ((short, "'bias': (12,)"), (wrong, "'core_0': (2, 4, 2)")):
        with pytest.raises(tnl.TNLayersError) as caught:
            layer.apply(params, np.zeros((3, 12), np.float32))
        assert part in str(caught.value)
        assert "layer.init(key)" in str(caught.value)


def test_cores_keep_their_order_where_jax_sorts_names():
    spec = tnl.spec("mpo", in_modes=(2,) * 12, out_modes=(1,) * 12, bond_dim=2)
    layer = jax.tree.map(lambda core: core, tnl.build(spec, backend="jax"))
    assert list(layer.params)[2] == "core_10"  # sorted
    assert list(layer.cores) == [f"core_{k}" for k in range(12)]
    x = normal((3, spec.in_features), "float32")
    assert_close(jax.jit(layer)(x), oracle_forward(spec, values(layer)[0], x), dtype="float32")


def test_equal_layers_share_structure_and_compiled_code():
    traced = []

    @jax.jit
    def forward(layer, x):
        traced.append(x.shape)
        return layer(x)

    x = np.ones((4, 12), np.float32)
    layers = [tnl.build(tnl.spec(BIAS), backend="jax", seed=seed) for seed in range(3)]
    layers += [pickle.loads(pickle.dumps(layers[0])), copy.deepcopy(layers[1])]
    ys = [forward(layer, x) for layer in layers]
    assert traced == [(4, 12)]
    assert np.array_equal(ys[0], ys[3])
    assert np.array_equal(ys[1], ys[4])
    assert len({jax.tree.structure(layer) for layer in layers}) == 1
    assert jax.tree.structure(tnl.build("mpo(in=2x3x2, out=2x2x3, bond=4)", backend="jax")) != jax.tree.structure(
        layers[0]
    )
    total = jax.tree.map(jnp.add, layers[0], layers[1])
    assert np.array_equal(total.bias, layers[0].bias + layers[1].bias)


def test_use_plan_gives_another_layer():
    layer = tnl.build(BIAS, backend="jax")
    plan = tnl.plan(layer.spec, 7, optimize=[(0, 1)] * 3)
    pinned = layer.use_plan(plan)
    assert pinned.plan_for(1000) is plan
    assert jax.tree.map(lambda p: p, pinned).plan_for(1) is plan
    assert layer.plan_for(1000).batch == 1024
    assert pinned.use_plan(None).plan_for(1000).batch == 1024
    assert jax.tree.structure(pinned) != jax.tree.structure(layer)  # compiled apart
    x = normal((5, 12), "float32")
    assert_close(jax.jit(pinned)(x), oracle_forward(layer.spec, values(layer)[0], x, values(layer)[1]), dtype="float32")
    with pytest.raises(tnl.TNLayersError, match="was made for"):
        layer.use_plan(tnl.plan("mpo(in=3x4, out=2x5, bond=2)", 4))


def test_norm_and_canonical_form():
    layer = tnl.build(BIAS, backend="jax", seed=2)
    cores, _ = values(layer)
    weight = oracle_weight(layer.spec, cores)
    squared = float(np.sum(weight.value**2))
    assert_close(layer.norm2(), np.asarray(squared), dtype="float32", terms=weight.terms)
    for other in (layer.canonicalise("core_1"), layer.balance()):
        assert_close(other.weight, weight, dtype="float32")
        assert other.bias is layer.bias
    centre = layer.canonicalise("core_1").cores["core_1"]
    assert_close(jnp.sum(centre**2), np.asarray(squared), dtype="float32", terms=weight.terms)
    norms = [float(jnp.linalg.norm(core.ravel())) for core in layer.balance().cores.values()]
    assert max(norms) < 1.0001 * min(norms)
    with pytest.raises(tnl.TNLayersError, match="form a loop"):
        tnl.build(ROWS["ring"], backend="jax").canonicalise()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_saved_layer_loads_again(dtype, tmp_path):
    layer = tnl.build(BIAS, backend="jax", seed=2, dtype=dtype)
    tnl.save(layer, tmp_path / "layer.safetensors")
    twin = tnl.load(tmp_path / "layer.safetensors")
    assert jax.tree.structure(twin) == jax.tree.structure(layer)
    assert all(np.array_equal(twin.params[name], p) for name, p in layer.params.items())
    other = tnl.load(tmp_path / "layer.safetensors", backend="torch")
    assert other(other.core_0.new_ones(2, 12)).shape == (2, 12)


def test_layer_as_printed():
    assert repr(tnl.build(BIAS, backend="jax")) == f"JaxLinear('{BIAS}')"
