"""Layers under jax's transformations: jit, export, grad, jvp, vmap, checkpoint, donation, sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax_cases import BIAS, ROWS, normal, on_devices, swapped, tangents, values
from oracle import added, assert_close, oracle_forward, oracle_gradients

import tnlayers as tnl


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


def test_two_devices_with_sharded_data():
    printed, errors = on_devices(SHARDED, 2)
    assert printed == "two devices agree with one\n", errors
