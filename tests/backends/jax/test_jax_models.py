"""Layers inside Equinox and Flax models: they are pytrees with `init` and `apply`, so neither needs code of ours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from oracle import assert_close, oracle_forward, oracle_gradients

import tnlayers as tnl

SPEC = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"


@pytest.fixture
def layer():
    return tnl.build(SPEC, backend="jax", seed=3)


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((5, 12)).astype(np.float32)


def assert_output(y, params, x):
    cores = [np.asarray(params[f"core_{k}"]) for k in range(3)]
    assert_close(y, oracle_forward(tnl.spec(SPEC), cores, x, np.asarray(params["bias"])), dtype="float32")


def assert_gradients(gradients, params, x):
    """Of sum(y)."""
    cores = [np.asarray(params[f"core_{k}"]) for k in range(3)]
    expected = oracle_gradients(tnl.spec(SPEC), cores, x, np.ones((5, 12)))[1:]
    for name, wanted in zip(("core_0", "core_1", "core_2", "bias"), expected, strict=True):
        assert_close(gradients[name], wanted, dtype="float32")


class Equinox(eqx.Module):
    """A layer is a field as any other pytree is."""

    fc: eqx.Module | object
    scale: float

    def __call__(self, x):
        return self.scale * self.fc(x)


def test_equinox(layer, x, tmp_path):
    model = Equinox(layer, 1.0)
    assert_output(eqx.filter_jit(model)(x), layer.params, x)
    gradients = eqx.filter_jit(eqx.filter_grad(lambda model, x: jnp.sum(model(x))))(model, x)
    assert_gradients(gradients.fc.params, layer.params, x)
    moved = eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, gradients))
    assert_output(moved(x), moved.fc.params, x)
    assert not np.array_equal(moved.fc.bias, layer.bias)


def test_equinox_writes_and_reads_its_leaves(layer, x, tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "model.eqx", Equinox(layer, 1.0))
    like = Equinox(tnl.build(SPEC, backend="jax", seed=4), 1.0)
    assert_output(eqx.tree_deserialise_leaves(tmp_path / "model.eqx", like)(x), layer.params, x)


def test_equinox_freezes_a_core(layer, x):
    trained = jax.tree.map(lambda _: True, layer)
    trained = eqx.tree_at(lambda layer: layer.params["core_1"], trained, False)
    moving, still = eqx.partition(layer, trained)
    gradients = eqx.filter_grad(lambda moving, x: jnp.sum(eqx.combine(moving, still)(x)))(moving, x)
    assert gradients.params["core_1"] is None
    assert_gradients(
        {**gradients.params, "core_1": jax.grad(lambda layer: jnp.sum(layer(x)))(layer).cores["core_1"]},
        layer.params,
        x,
    )


class Linen(linen.Module):
    """`init` makes the parameters, `apply` uses them: `params["fc"]` holds the cores by name."""

    @linen.compact
    def __call__(self, x):
        layer = tnl.build(SPEC, backend="jax")
        return layer.apply(self.param("fc", layer.init), x)


def test_flax_linen(x):
    model = Linen()
    variables = model.init(jax.random.key(0), x)
    params = variables["params"]["fc"]
    assert sorted(params) == ["bias", "core_0", "core_1", "core_2"]
    assert_output(jax.jit(model.apply)(variables, x), params, x)
    gradients = jax.jit(jax.grad(lambda variables: jnp.sum(model.apply(variables, x))))(variables)
    assert_gradients(gradients["params"]["fc"], params, x)
    assert not np.array_equal(params["core_0"], model.init(jax.random.key(1), x)["params"]["fc"]["core_0"])


class WholeNNX(nnx.Module):
    """The layer as one parameter."""

    def __init__(self, layer):
        self.fc = nnx.Param(layer)

    def __call__(self, x):
        return self.fc.get_value()(x)


class PartsNNX(nnx.Module):
    """Each core a parameter of its own; the layer itself is only asked for `init` and `apply`."""

    def __init__(self, rngs):
        self.cores = nnx.Dict({name: nnx.Param(p) for name, p in self.layer.init(rngs.params()).items()})

    layer = tnl.build(SPEC, backend="jax")

    def __call__(self, x):
        return self.layer.apply({name: p.get_value() for name, p in self.cores.items()}, x)


def test_flax_nnx_with_a_layer_as_parameter(layer, x):
    model = WholeNNX(layer)
    assert_output(nnx.jit(lambda model, x: model(x))(model, x), layer.params, x)
    gradients = nnx.jit(nnx.grad(lambda model, x: jnp.sum(model(x))))(model, x)
    assert_gradients(gradients["fc"].get_value().params, layer.params, x)
    state = jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(model, nnx.Param), gradients)
    nnx.update(model, state)
    moved = model.fc.get_value()
    assert not np.array_equal(moved.bias, layer.bias)
    assert_output(model(x), moved.params, x)


def test_flax_nnx_with_cores_as_parameters(x):
    model = PartsNNX(nnx.Rngs(0))
    params = {name: p.get_value() for name, p in model.cores.items()}
    assert_output(nnx.jit(lambda model, x: model(x))(model, x), params, x)
    gradients = nnx.grad(lambda model, x: jnp.sum(model(x)))(model, x)
    assert_gradients({name: p.get_value() for name, p in gradients["cores"].items()}, params, x)


def test_the_comparison_has_teeth(layer, x):
    with pytest.raises(AssertionError, match="off by"):
        assert_output(layer(x), layer.params | {"core_1": layer.params["core_1"] * 1.001}, x)
    gradients = jax.grad(lambda layer: jnp.sum(layer(x)))(layer).params
    with pytest.raises(AssertionError, match="off by"):
        assert_gradients(gradients, layer.params | {"core_1": layer.params["core_1"] * 1.001}, x)
