"""Modules for Flax NNX and Equinox: trained by optax they follow their torch twins, and every tool of theirs works."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from jax_cases import x64
from oracle import assert_close, oracle_forward

import tnlayers as tnl

NETWORKS = ("mpo(cores=3, bond=4)", "ring(cores=3, bond=3)", "tucker(bond=3)", "lowrank(rank=4)", "btt(rank=2)")
STEPS = 8


@pytest.fixture
def in_64_bits():
    with x64(True):
        yield


def torch_twin(make, seed=0):
    """A torch module in double precision."""
    torch.manual_seed(seed)
    return make().double()


def arrays(module):
    """A torch module's parameters by name."""
    return {name: jnp.asarray(value.detach().numpy()) for name, value in module.named_parameters()}


def put(module, values):
    """Write parameters by dotted names into an NNX module."""
    for name, value in values.items():
        *path, last = name.split(".")
        owner = module
        for part in path:
            owner = getattr(owner, part)
        getattr(owner, last)[...] = value
    return module


def layer_of(linear):
    """A torch TNLinear as a jax layer."""
    return tnl.to_backend(linear, "jax")


def data(rows=10, size=12, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, size)), rng.standard_normal((rows, size))


def torch_losses(module, x, y):
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    x, y, found = torch.from_numpy(x), torch.from_numpy(y), []
    for _ in range(STEPS):
        loss = ((module(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def nnx_losses(module, x, y):
    optimizer = nnx.Optimizer(module, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer):
        loss, gradients = nnx.value_and_grad(lambda module: jnp.mean((module(x) - y) ** 2))(module)
        optimizer.update(module, gradients)
        return loss

    return [float(step(module, optimizer)) for _ in range(STEPS)]


def eqx_losses(module, x, y):
    optimizer = optax.adam(1e-2)
    state = optimizer.init(eqx.filter(module, eqx.is_array))

    @eqx.filter_jit
    def step(module, state):
        loss, gradients = eqx.filter_value_and_grad(lambda module: jnp.mean((jax.vmap(module)(x) - y) ** 2))(module)
        updates, state = optimizer.update(gradients, state)
        return eqx.apply_updates(module, updates), state, loss

    found = []
    for _ in range(STEPS):
        module, state, loss = step(module, state)
        found.append(float(loss))
    return found


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.usefixtures("in_64_bits")
def test_training_follows_the_torch_twin(network):
    x, y = data()
    twin = torch_twin(lambda: tnl.nn.TNLinear(12, 12, network=network))
    layer = layer_of(twin)
    ours = tnl.jax.nnx.TNLinear.of(layer)
    other = tnl.jax.eqx.TNLinear(12, 12, network=network, dtype=jnp.float64, key=jax.random.key(0))
    other = eqx.tree_at(lambda module: module.layer, other, layer)
    wrong = tnl.jax.nnx.TNLinear(12, 12, network=network, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    expected = torch_losses(twin, x, y)
    np.testing.assert_allclose(nnx_losses(ours, x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(eqx_losses(other, x, y), expected, rtol=1e-9)
    assert expected[-1] < expected[0]
    assert not np.allclose(nnx_losses(wrong, x, y), expected, rtol=1e-3)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.usefixtures("in_64_bits")
def test_cells_are_those_of_torch(kind):
    twin = torch_twin(lambda: getattr(tnl.nn, f"TN{kind}Cell")(6, 8, network="mpo(cores=2, bond=3)"))
    cell = getattr(tnl.jax.nnx, f"TN{kind}Cell")(
        6, 8, network="mpo(cores=2, bond=3)", param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    put(cell, arrays(twin))
    own = getattr(tnl.jax.eqx, f"TN{kind}Cell")(
        6, 8, network="mpo(cores=2, bond=3)", dtype=jnp.float64, key=jax.random.key(0)
    )
    own = eqx.tree_at(lambda c: (c.ih.layer, c.hh.layer), own, (layer_of(twin.ih), layer_of(twin.hh)))
    x = np.random.default_rng(0).standard_normal((4, 3, 6))
    carry = cell.initialize_carry((3, 6))
    hidden = (jnp.zeros((3, 8)),) * 2 if kind == "LSTM" else jnp.zeros((3, 8))
    state = None
    for step in x:
        state = twin(torch.from_numpy(step), state)
        carry, y = cell(carry, jnp.asarray(step))
        hidden = own(jnp.asarray(step), hidden)
        expected = (state[0] if kind == "LSTM" else state).detach().numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(hidden[0] if kind == "LSTM" else hidden, expected, rtol=1e-12, atol=1e-14)
    whole = nnx.RNN(cell, time_major=True)(jnp.asarray(x))
    np.testing.assert_allclose(whole[-1], expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(whole[-2], expected, rtol=1e-12, atol=1e-14)


def nnx_layer(**more):
    return tnl.jax.nnx.MPOLinear(12, 8, bond_dim=3, cores=2, rngs=nnx.Rngs(0), **more)


def test_the_output_is_that_of_the_oracle():
    layer = nnx_layer()
    x = np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)
    cores = [np.asarray(layer.core_0[...]), np.asarray(layer.core_1[...])]
    assert_close(layer(x), oracle_forward(layer.spec, cores, x, np.asarray(layer.bias[...])), dtype="float32")
    with pytest.raises(AssertionError):
        assert_close(layer(x), oracle_forward(layer.spec, cores, x, None), dtype="float32")


def test_tools_of_flax(tmp_path):
    layer, x = nnx_layer(), jnp.ones((4, 12))
    graph, state = nnx.split(layer)
    assert jnp.array_equal(nnx.merge(graph, state)(x), layer(x))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(state)) == {
        name: array.shape for name, array in layer.layer.params.items()
    }
    text = nnx.tabulate(layer, x)
    assert "core_0" in text
    assert "MPOLinear" in text
    assert jnp.allclose(nnx.remat(lambda layer, x: layer(x))(layer, x), layer(x))
    halved = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state))
    assert halved(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert halved(x).dtype == jnp.float32  # as flax promotes
    assert nnx_layer(dtype=jnp.bfloat16)(x).dtype == jnp.bfloat16
    assert nnx_layer(use_bias=False).layer.bias is None


def test_layers_are_stacked_and_scanned():
    x = jnp.ones((4, 12))

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def make(rngs):
        return tnl.jax.nnx.MPOLinear(12, 12, bond_dim=3, cores=2, rngs=rngs)

    stack = make(nnx.Rngs(0))
    assert stack.core_0.shape[0] == 3
    assert not jnp.array_equal(stack.core_0[0], stack.core_0[1])

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    def run(x, layer):
        return layer(x)

    y = x
    for k in range(3):
        graph, state = nnx.split(stack)
        y = nnx.merge(graph, jax.tree.map(lambda leaf, k=k: leaf[k], state))(y)
    assert jnp.allclose(run(x, stack), y, rtol=1e-4, atol=1e-6)


def test_leaves_of_equinox_are_written_and_read(tmp_path):
    layer = tnl.jax.eqx.MPOLinear(12, 8, bond_dim=3, cores=2, key=jax.random.key(0))
    eqx.tree_serialise_leaves(tmp_path / "layer.eqx", layer)
    other = tnl.jax.eqx.MPOLinear(12, 8, bond_dim=3, cores=2, key=jax.random.key(1))
    x = jnp.ones(12)
    assert not jnp.array_equal(other(x), layer(x))
    assert jnp.array_equal(eqx.tree_deserialise_leaves(tmp_path / "layer.eqx", other)(x), layer(x))
    assert jnp.allclose(layer.weight @ x + layer.bias, layer(x), rtol=1e-5, atol=1e-6)


def test_a_saved_torch_layer_becomes_a_module(tmp_path):
    twin = tnl.nn.MPOLinear(12, 8, bond_dim=3, cores=2, seed=0)
    tnl.save(twin, tmp_path / "layer.safetensors")
    module = tnl.jax.nnx.TNLinear.of(tnl.load(tmp_path / "layer.safetensors", backend="jax"))
    x = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    np.testing.assert_allclose(module(x), twin(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert nnx.state(module, nnx.Param)["core_0"].shape == twin.core_0.shape


@pytest.mark.parametrize("name", ["layer", "spec", "dtype", "in_features"])
def test_a_core_with_a_name_of_the_modules_own_is_refused(name):
    made = tnl.build("mpo(in=2x2, out=2x3, bond=2)", backend="jax")
    (graph,) = made.map.graphs
    graph = replace(graph, cores=(replace(graph.cores[0], name=name), graph.cores[1]))
    params = {name: made.params["core_0"], "core_1": made.params["core_1"]}
    layer = replace(made, params=params, map=replace(made.map, graphs=(graph,), buckets=()))
    with pytest.raises(tnl.TNLayersError, match=f"named '{name}', which this module uses itself"):
        tnl.jax.nnx.TNLinear.of(layer)


def test_refusals():
    with pytest.raises(tnl.TNLayersError, match="cannot have dtype 'int32'"):
        nnx_layer(param_dtype=jnp.int32)
    with pytest.raises(tnl.TNLayersError, match="in_features"):
        tnl.jax.nnx.TNLinear(0, 4, rngs=nnx.Rngs(0))
    with pytest.raises(AttributeError, match="it has eqx, nnx"):
        tnl.jax.linen  # noqa: B018
