"""Layers on jax: each row of the market is the float64 einsum of its declaration, under every transformation."""

import copy
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from oracle import added, assert_close, oracle_forward, oracle_gradients, oracle_weight
from specs import MARKET, SUMS

import tnlayers as tnl
from tnlayers.initialise import default_variance

ROWS = MARKET | SUMS
BIAS = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"
x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


def normal(shape, dtype, seed=1):
    rng = np.random.default_rng(seed)
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def values(layer):
    """Cores and bias as numpy arrays."""
    return [np.asarray(core) for core in layer.cores.values()], None if layer.bias is None else np.asarray(layer.bias)


@jax.jit
def run(layer, x, grad_y):
    """Output, gradients of sum(y * grad_y) by layer and x, and the weight."""
    y, pull = jax.vjp(lambda layer, x: layer(x), layer, x)
    return y, pull(grad_y), layer.to_dense()


# All rows in single precision; the other dtypes are compiled for some, and by test_check.py for every network type.
SOME = ("mpo-bias", "mpo-padded", "monarch", "ring", "traced", "sum-2")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*product(ROWS, ["float32"]), *product(SOME, ["float64", "complex64", "complex128"])],
)
def test_forward_gradients_and_weight(name, dtype):
    with x64(dtype in ("float64", "complex128")):
        spec = tnl.spec(ROWS[name])
        layer = tnl.build(spec, backend="jax", seed=5, dtype=dtype)
        x, grad_y = normal((2, 3, spec.in_features), dtype), normal((2, 3, spec.out_features), dtype, seed=2)
        y, (by_layer, by_x), weight = run(layer, x, grad_y)
        cores, bias = values(layer)
        assert_close(y, oracle_forward(spec, cores, x, bias), dtype=dtype)
        assert_close(weight, oracle_weight(spec, cores), dtype=dtype)
        found = [by_x, *by_layer.cores.values(), *([] if bias is None else [by_layer.bias])]
        for gradient, expected in zip(found, oracle_gradients(spec, cores, x, grad_y), strict=bias is not None):
            assert_close(gradient, expected, dtype=dtype)


def test_the_comparisons_have_teeth():
    layer = tnl.build(BIAS, backend="jax", seed=5)
    x, grad_y = normal((3, 12), "float32"), normal((3, 12), "float32", seed=2)
    y, (by_layer, by_x), weight = run(layer, x, grad_y)
    cores, bias = values(layer)
    cores[1] = cores[1] * 1.001
    expected = oracle_gradients(layer.spec, cores, x, grad_y)
    for found, other in (
        (y, oracle_forward(layer.spec, cores, x, bias)),
        (weight, oracle_weight(layer.spec, cores)),
        (by_x, expected[0]),
        (by_layer.cores["core_0"], expected[1]),
    ):
        with pytest.raises(AssertionError, match="off by"):
            assert_close(found, other, dtype="float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["mpo-4", "mpo-padded", "blocks", "traced"])
def test_half_precision(name, dtype):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, backend="jax", seed=5, dtype=dtype)
    x = jnp.asarray(normal((6, spec.in_features), "float32"), dtype)
    assert_close(jax.jit(layer)(x), oracle_forward(spec, values(layer)[0], np.asarray(x)), dtype=dtype)


@pytest.mark.parametrize("name", ["mpo-padded", "monarch"])
@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 0, 3), (1, 1, 1)])
def test_any_leading_dimensions(name, leading):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, backend="jax", seed=5)
    x = normal((*leading, spec.in_features), "float32")
    assert_close(layer(x), oracle_forward(spec, values(layer)[0], x), dtype="float32")


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


# init and apply


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


# A layer is a value.


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


def test_a_layer_of_gradients_trains():
    layer = tnl.build(BIAS, backend="jax", seed=0)
    x, wanted = normal((64, 12), "float32"), normal((64, 12), "float32", seed=2)

    @jax.jit
    def step(layer):
        loss, gradient = jax.value_and_grad(lambda layer: jnp.mean((layer(x) - wanted) ** 2))(layer)
        return loss, jax.tree.map(lambda p, g: p - 0.3 * g, layer, gradient)

    losses = []
    for _ in range(30):
        loss, layer = step(layer)
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]


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


# jit, export, and derivatives


def test_jit_with_a_changing_batch():
    layer = tnl.build(BIAS, backend="jax", seed=3)
    forward, (cores, bias) = jax.jit(lambda layer, x: layer(x)), values(layer)
    for batch in (1, 3, 8, 130):
        x = normal((batch, 12), "float32")
        assert_close(forward(layer, x), oracle_forward(layer.spec, cores, x, bias), dtype="float32")


@pytest.mark.parametrize("name", ["mpo-bias", "mpo-padded", "monarch", "sum-2"])
@pytest.mark.parametrize("symbols", ["b", "b, t"])
def test_export_with_a_symbolic_batch(name, symbols):
    """One program, with its derivative, is right at every batch; larger ones than any that was planned for too."""
    layer = tnl.build(ROWS[name], backend="jax", seed=3)
    spec, (cores, bias) = layer.spec, values(layer)
    leading = export.symbolic_shape(symbols)
    asked = jax.ShapeDtypeStruct((*leading, spec.in_features), jnp.float32)
    program = export.export(jax.jit(layer.apply))(layer.params, asked)
    for sizes in ((1, 5), (7, 1), (200, 3)):
        x = normal((*sizes[: len(leading)], spec.in_features), "float32")
        assert_close(program.call(layer.params, x), oracle_forward(spec, cores, x, bias), dtype="float32")
    gradient = export.export(jax.jit(jax.grad(lambda params, x: layer.apply(params, x).sum())))(layer.params, asked)
    expected = oracle_gradients(spec, cores, x, np.ones((*x.shape[:-1], spec.out_features)))
    found = gradient.call(layer.params, x)
    for core, wanted in zip(layer.cores, expected[1:], strict=False):
        assert_close(found[core], wanted, dtype="float32")


def tangents(layer, seed=9):
    return jax.tree.map(lambda p: jnp.asarray(normal(p.shape, "float32", seed + p.size)), layer)


def swapped(cores, k, core):
    return [core if j == k else c for j, c in enumerate(cores)]


def test_jvp():
    """The tangent of a multilinear map is the sum of the maps with one factor exchanged."""
    layer = tnl.build(BIAS, backend="jax", seed=3)
    spec, (cores, _) = layer.spec, values(layer)
    moved, x, dx = tangents(layer), normal((4, 12), "float32"), normal((4, 12), "float32", seed=2)
    _, found = jax.jvp(lambda layer, x: layer(x), (layer, jnp.asarray(x)), (moved, jnp.asarray(dx)))
    d_cores, d_bias = values(moved)
    parts = [oracle_forward(spec, cores, dx, d_bias)]
    parts += [oracle_forward(spec, swapped(cores, k, d), x) for k, d in enumerate(d_cores)]
    assert_close(found, added(parts), dtype="float32")
    _, pushed = jax.linearize(lambda layer: layer(x), layer)
    assert_close(pushed(moved), added([*parts[1:], oracle_forward(spec, cores, 0 * x, d_bias)]), dtype="float32")


def test_vmap_over_inputs_and_over_layers():
    layer = tnl.build(BIAS, backend="jax", seed=3)
    cores, bias = values(layer)
    x = normal((4, 3, 12), "float32")
    expected = oracle_forward(layer.spec, cores, x, bias)
    assert_close(jax.vmap(layer)(x), expected, dtype="float32")
    assert_close(jax.vmap(layer, in_axes=1, out_axes=1)(x), expected, dtype="float32")
    stacked = jax.tree.map(lambda *p: jnp.stack(p), *(tnl.build(BIAS, backend="jax", seed=s) for s in range(4)))
    each = jax.vmap(lambda layer, x: layer(x))(stacked, x)
    for seed in range(4):
        one = tnl.build(BIAS, backend="jax", seed=seed)
        assert_close(each[seed], oracle_forward(one.spec, values(one)[0], x[seed], values(one)[1]), dtype="float32")


def test_gradients_per_example():
    layer = tnl.build(BIAS, backend="jax", seed=3)
    cores, _ = values(layer)
    x, grad_y = normal((5, 12), "float32"), normal((5, 12), "float32", seed=2)
    each = jax.vmap(jax.grad(lambda layer, x, g: jnp.sum(layer(x) * g)), in_axes=(None, 0, 0))(layer, x, grad_y)
    for k in range(5):
        expected = oracle_gradients(layer.spec, cores, x[k], grad_y[k])[1:]
        for found, wanted in zip([*each.cores.values(), each.bias], expected, strict=True):
            assert_close(found[k], wanted, dtype="float32")


def test_hessian_times_vector():
    """L = sum(y * g) is multilinear in the cores: row k of H v is the gradient by k with another core exchanged."""
    layer = tnl.build(BIAS, backend="jax", seed=3)
    cores, _ = values(layer)
    x, grad_y, v = normal((5, 12), "float32"), normal((5, 12), "float32", seed=2), tangents(layer)
    gradient = jax.grad(lambda layer: jnp.sum(layer(x) * grad_y))
    d_cores, _ = values(v)
    rows = [oracle_gradients(layer.spec, swapped(cores, j, d), x, grad_y)[1:-1] for j, d in enumerate(d_cores)]
    forward_over_reverse = jax.jvp(gradient, (layer,), (v,))[1]
    inner = lambda layer: sum(map(jnp.vdot, jax.tree.leaves(gradient(layer)), jax.tree.leaves(v)))  # noqa: E731
    for hv in (forward_over_reverse, jax.grad(inner)(layer)):
        for k, found in enumerate(hv.cores.values()):
            assert_close(found, added(row[k] for j, row in enumerate(rows) if j != k), dtype="float32")
        assert not np.any(hv.bias)


def test_checkpoint_changes_no_gradient():
    layer = tnl.build(BIAS, backend="jax", seed=3)
    cores, _ = values(layer)
    x, grad_y = normal((5, 12), "float32"), normal((5, 12), "float32", seed=2)
    found = jax.jit(jax.grad(lambda layer: jnp.sum(jax.checkpoint(lambda layer: layer(x))(layer) * grad_y)))(layer)
    for gradient, wanted in zip(
        [*found.cores.values(), found.bias], oracle_gradients(layer.spec, cores, x, grad_y)[1:], strict=True
    ):
        assert_close(gradient, wanted, dtype="float32")


def test_donated_layers_are_reused():
    layer = tnl.build(BIAS, backend="jax", seed=3)
    before = np.asarray(layer.cores["core_1"]).copy()
    halved = jax.jit(lambda layer: jax.tree.map(lambda p: p / 2, layer), donate_argnums=0)(layer)
    assert np.array_equal(np.asarray(halved.cores["core_1"]), before / 2)
    assert layer.cores["core_1"].is_deleted()


SHARDED = f"""
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import tnlayers as tnl
mesh = Mesh(np.array(jax.devices()), ("data",))
over_data, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
layer = tnl.build({BIAS!r}, backend="jax", seed=3, device=everywhere)
x = np.random.default_rng(1).standard_normal((8, 12)).astype(np.float32)
@jax.jit
def run(layer, x):
    return layer(x), jax.grad(lambda layer: jnp.sum(layer(x) ** 2))(layer)
y, gradient = run(layer, jax.device_put(x, over_data))
assert len(jax.devices()) == 2 and len(layer.bias.sharding.device_set) == 2
assert y.sharding.is_equivalent_to(over_data, 2), y.sharding
one = jax.devices()[0]
y1, gradient1 = run(jax.device_put(layer, one), jax.device_put(x, one))
for a, b in zip(jax.tree.leaves((y, gradient)), jax.tree.leaves((y1, gradient1)), strict=True):
    bound = 6 * np.finfo(np.float32).eps * np.sqrt(12 * 8) * np.max(np.abs(b))
    assert np.max(np.abs(np.asarray(a) - np.asarray(b))) <= bound
step = jax.jit(lambda layer, g: jax.tree.map(lambda p, g: p - 0.1 * g, layer, g), donate_argnums=0)
moved = step(layer, gradient)
assert layer.bias.is_deleted() and moved.bias.sharding.is_equivalent_to(everywhere, 1)
print("two devices agree with one")
"""


def on_two_devices(code):
    """Run code where jax sees two devices: what it printed, and its errors."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    environment = {**os.environ, **flags, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout, done.stderr


def test_two_devices_with_sharded_data():
    printed, errors = on_two_devices(SHARDED)
    assert printed == "two devices agree with one\n", errors


# dtypes


@pytest.mark.parametrize("dtype", ["float64", "complex128", np.float64])
def test_64_bits_without_the_flag_are_refused(dtype):
    with pytest.raises(tnl.TNLayersError, match=r"jax_enable_x64.*JAX_ENABLE_X64"):
        tnl.build(BIAS, backend="jax", dtype=dtype)


def test_a_narrow_layer_stays_narrow_in_64_bit_mode():
    with x64(True):
        layer = tnl.build(BIAS, backend="jax")
        params = layer.init(jax.random.key(0))
        assert {p.dtype.name for p in (*layer.params.values(), *params.values())} == {"float32"}
        assert layer(np.ones((2, 12), np.float32)).dtype == jnp.float32
        assert layer.weight.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float31", "int32", jnp.int8])
def test_unknown_dtypes_are_refused(dtype):
    with pytest.raises(tnl.TNLayersError, match="cannot have dtype"):
        tnl.build(BIAS, backend="jax", dtype=dtype)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.dtype("bfloat16"), "bfloat16"])
def test_dtypes_by_name_or_as_jax_has_them(dtype):
    assert tnl.build(BIAS, backend="jax", dtype=dtype).bias.dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(3, 11), (12, 3), (0,), ()])
def test_wrong_inputs_are_refused_with_the_numbers(shape):
    with pytest.raises(tnl.TNLayersError, match=r"12 features, \(\.\.\., 12\) -> \(\.\.\., 12\)"):
        tnl.build(BIAS, backend="jax")(np.zeros(shape, np.float32))
