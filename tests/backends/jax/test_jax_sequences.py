"""Recurrent layers, bags of embeddings and adapters for Flax NNX and Equinox: how they begin, and what they refuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from named_classes import Named
from oracle import oracle_weight

import tnlayers as tnl

NETWORK = "mpo(cores=2, bond=3)"


def test_a_layer_is_its_cells_one_after_the_other():
    layer = tnl.jax.nnx.TNLSTM(6, 4, network=NETWORK, return_carry=True, rngs=nnx.Rngs(0))
    row = Named("nnx", "TNLSTMCell", (6, 4), {"network": NETWORK}, dtype=jnp.float32)
    held = type("Held", (), {"params": {name.replace("_l0", ""): a for name, a in layer.layer.params.items()}})
    cell = row.holding(held)
    rng = np.random.default_rng(0)
    x, carry = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((2, 5, 6), (2, 2, 4)))
    begin = (carry[0], carry[1])
    (expected_cell, expected_hidden), y = nnx.jit(
        lambda cell: nnx.RNN(cell, return_carry=True)(x, initial_carry=begin)
    )(cell)
    (found_cell, found_hidden), found = nnx.jit(lambda layer: layer(x, initial_carry=(carry[:1], carry[1:])))(layer)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found_cell[0], expected_cell, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found_hidden[0], expected_hidden, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found_cell[0], expected_hidden, rtol=1e-2)


def test_weights_are_drawn_as_torch_draws_them():
    """E[W^2] = 1 / (3 hidden) of all projections, and biases within the root of 1 / hidden."""
    layer = tnl.jax.eqx.TNGRU(96, 48, network="mpo(cores=2, bond=16)", key=jax.random.key(0)).layer
    twin = tnl.to_backend(layer, "numpy")
    for name in ("ih_l0", "hh_l0"):
        one = dict(twin.form.children)[name]
        weight = oracle_weight(one.spec, [twin.arrays[f"{name}.{core}"] for core in one.map.shapes])
        assert np.mean(weight.value**2) == pytest.approx(1 / (3 * 48), rel=0.1)
        assert 0.9 * 48**-0.5 < np.abs(twin.arrays[f"{name}.bias"]).max() <= 48**-0.5


REFUSED = {
    "layers": (lambda: tnl.jax.nnx.TNGRU(6, 4, 0, network=NETWORK, rngs=nnx.Rngs(0)), "num_layers=0"),
    "size": (lambda: tnl.jax.nnx.TNGRU(6, -4, network=NETWORK, rngs=nnx.Rngs(0)), "hidden_features=-4"),
    "projection": (lambda: tnl.jax.eqx.TNLSTM(6, 4, proj_size=4, key=jax.random.key(0)), "must be smaller"),
    "nonlinearity": (lambda: tnl.jax.eqx.TNRNN(6, 4, nonlinearity="elu", key=jax.random.key(0)), "'tanh' or 'relu'"),
    "cell": (lambda: tnl.jax.eqx.TNRNNCell(6, 4, nonlinearity="elu", key=jax.random.key(0)), "'tanh' or 'relu'"),
    "mode": (lambda: tnl.jax.nnx.TNEmbeddingBag(12, 10, "median", rngs=nnx.Rngs(0)), "mode='median'"),
    "padding": (lambda: tnl.jax.eqx.TNEmbeddingBag(12, 10, padding_idx=12, key=jax.random.key(0)), "padding_idx=12"),
    "bias": (lambda: tnl.jax.nnx.TNEmbedding(12, 10, bias=True, rngs=nnx.Rngs(0)), "has a bias"),
    "network": (lambda: tnl.jax.eqx.TNGRU(6, 4, network="mpx", key=jax.random.key(0)), "mpx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, part = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=part):
        make()


def test_the_dense_layer_of_an_adapter_is_no_parameter():
    import torch

    twin = tnl.nn.TNAdapter(torch.nn.Linear(12, 10), NETWORK, seed=0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.ReLU(), twin)
    module = tnl.jax.nnx.TNModule(tnl.to_backend(model, "jax"))
    assert set(nnx.state(module, tnl.jax.nnx.Frozen)) == {"2.base.weight", "2.base.bias"}
    trained = set(nnx.state(module, nnx.Param))
    assert trained == {name for name, value in model.named_parameters() if value.requires_grad}
    gradient = jax.grad(lambda layer: layer(jnp.ones((3, 12))).sum())(module.layer).params
    assert not gradient["2.base.weight"].any()
    assert gradient["2.delta.core_1"].any() or gradient["2.delta.core_0"].any()


@pytest.mark.parametrize("bias", [True, False])
def test_adapters_begin_as_their_dense_layer_and_merge(bias):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 12)), jnp.float32)
    flax = nnx.Linear(12, 10, use_bias=bias, rngs=nnx.Rngs(0))
    other = eqx.nn.Linear(12, 10, use_bias=bias, key=jax.random.key(0))
    adapters = (
        tnl.jax.nnx.TNAdapter(flax, NETWORK, rngs=nnx.Rngs(1)),
        tnl.jax.eqx.TNAdapter(other, NETWORK, key=jax.random.key(1)),
    )
    for adapter, dense in zip(adapters, (flax, jax.vmap(other)), strict=True):
        np.testing.assert_allclose(adapter(x), dense(x), rtol=1e-5, atol=1e-6)
    ones = jnp.ones(adapters[0].layer.params["delta.core_1"].shape)
    getattr(adapters[0], "delta.core_1")[...] = ones
    learned = eqx.tree_at(lambda one: one.layer.params["delta.core_1"], adapters[1], ones)
    for adapter, dense, call in ((adapters[0], flax, lambda one: one), (learned, other, jax.vmap)):
        np.testing.assert_allclose(call(adapter.merge())(x), adapter(x), rtol=1e-4, atol=1e-5)
        assert not np.allclose(adapter(x), call(dense)(x), atol=1e-2)
    with pytest.raises(tnl.TNLayersError, match="base is a Conv"):
        tnl.jax.nnx.TNAdapter(nnx.eval_shape(lambda: nnx.Conv(3, 4, (3,), rngs=nnx.Rngs(0))), rngs=nnx.Rngs(0))
    with pytest.raises(tnl.TNLayersError, match=r"an eqx\.nn\.Linear between vectors"):
        tnl.jax.eqx.TNAdapter(flax, key=jax.random.key(0))
    with pytest.raises(tnl.TNLayersError, match="leave bias out"):
        tnl.jax.eqx.TNAdapter(other, NETWORK, bias=True, key=jax.random.key(0))
