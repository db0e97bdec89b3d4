"""Layers in the tools of jax people: eight devices, checkpoints, stacks, rematerialisation, tables, casts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax_cases import on_devices

import tnlayers as tnl

NETWORK = "mpo(cores=2, bond=3)"


def sequence(seed=0):
    """An LSTM in both directions, moved from torch: drawing here takes seconds to compile."""
    twin = tnl.nn.TNLSTM(6, 4, bidirectional=True, network=NETWORK, seed=seed)
    return tnl.to_backend(twin, "jax")


def conv(seed=0):
    return tnl.to_backend(tnl.nn.TNConv1d(4, 6, 3, network=NETWORK, seed=seed), "jax")


EIGHT = """
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import tnlayers as tnl
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
over_data, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
x = np.random.default_rng(1).standard_normal((16, 64)).astype(np.float32)
spec = "mpo(in=8x8, out=8x4, bias=true, bond=8)"
layer = tnl.build(spec, backend="jax", seed=3)

def split(leaf):  # along the first axis that two devices can share
    axis = next((k for k, size in enumerate(leaf.shape) if size % 2 == 0), None)
    return NamedSharding(mesh, P() if axis is None else P(*[None] * axis, "model"))

def run(layer, x, places):
    module = tnl.jax.nnx.TNLinear.of(layer)
    graph, state = nnx.split((module, nnx.Optimizer(module, optax.adam(1e-2), wrt=nnx.Param)))
    state = jax.tree.map(lambda leaf: jax.device_put(leaf, places(leaf)), state)
    @jax.jit
    def step(state, x):
        module, optimizer = nnx.merge(graph, state)
        loss, gradients = nnx.value_and_grad(lambda module: jnp.mean((module(x) - 1) ** 2))(module)
        optimizer.update(module, gradients)
        return nnx.state((module, optimizer)), loss
    losses = []
    for _ in range(3):
        state, loss = step(state, x)
        losses.append(float(loss))
    return losses, state

one = jax.devices()[0]
alone, at_one = run(layer, jax.device_put(x, one), lambda leaf: one)
copies, of_copies = run(layer, jax.device_put(x, over_data), lambda leaf: everywhere)
shared, of_shares = run(layer, jax.device_put(x, over_data), split)
assert len(jax.devices()) == 8
core = nnx.to_pure_dict(of_shares)[0]["core_0"]
assert len(core.sharding.device_set) == 8 and core.addressable_shards[0].data.size == core.size // 2
assert len(nnx.to_pure_dict(of_copies)[0]["core_0"].sharding.device_set) == 8
print(alone, copies, shared, sep=";")
"""


def test_a_training_over_eight_devices_is_that_of_one():
    """The batch over four devices, parameters and Adam's moments on every device, or shared by two: the same losses."""
    printed, errors = on_devices(EIGHT, 8)
    alone, copies, shared = (np.array(eval(part)) for part in printed.split(";")) if printed else pytest.fail(errors)
    assert alone[-1] < alone[0]
    np.testing.assert_allclose(copies, alone, rtol=1e-5)
    np.testing.assert_allclose(shared, alone, rtol=1e-5)
    assert not np.allclose(alone[1:], alone[:-1], rtol=1e-5)


@pytest.mark.parametrize("make", [sequence, conv])
def test_orbax_writes_and_reads_what_nnx_trains(tmp_path, make):
    module, other = tnl.jax.nnx.TNModule(make()), tnl.jax.nnx.TNModule(make(seed=1))
    graph, state = nnx.split(module)
    before = nnx.to_pure_dict(nnx.state(other))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.to_pure_dict(state))
        checkpointer.wait_until_finished()
        nnx.update(other, checkpointer.restore(tmp_path / "state", before))
    found = nnx.to_pure_dict(nnx.state(other))
    assert all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(nnx.to_pure_dict(state))))
    assert not all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(before)))
    assert nnx.graphdef(other) == graph


def test_leaves_of_equinox_are_written_and_read(tmp_path):
    one, other = (tnl.jax.eqx.TNModule(sequence(seed)) for seed in (0, 1))
    eqx.tree_serialise_leaves(tmp_path / "lstm.eqx", one)
    assert not eqx.tree_equal(one, other)
    assert eqx.tree_equal(eqx.tree_deserialise_leaves(tmp_path / "lstm.eqx", other), one)


def test_stacked_layers_are_scanned_and_rematerialised():
    """Layers stacked leaf by leaf, scanned with `eqx.filter_checkpoint`: values and gradients of a loop."""
    spec = "mpo(in=3x4, out=3x4, bias=true, bond=3)"
    layers = [tnl.build(spec, backend="jax", seed=seed) for seed in range(3)]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 12)), jnp.float32)

    @eqx.filter_checkpoint
    def one(x, layer):
        return jnp.tanh(layer(x))

    def scanned(stack):
        return jnp.sum(jax.lax.scan(lambda x, layer: (one(x, layer), None), x, stack)[0] ** 2)

    def looped(layers):
        y = x
        for layer in layers:
            y = jnp.tanh(layer(y))
        return jnp.sum(y**2)

    value, found = jax.jit(jax.value_and_grad(scanned))(stack)
    assert "remat" in str(jax.make_jaxpr(scanned)(stack))
    expected, gradients = jax.jit(jax.value_and_grad(looped))(layers)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    each = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(each), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert np.abs(one).max() > 1e-3


def test_flax_prints_a_table_of_a_model():
    class Model(nnx.Module):
        def __init__(self):
            self.conv, self.lstm = tnl.jax.nnx.TNModule(conv()), tnl.jax.nnx.TNModule(sequence())

        def __call__(self, x):
            y, _ = self.lstm(jnp.moveaxis(self.conv(x), 2, 0))
            return y

    text = nnx.tabulate(Model(), jnp.ones((2, 4, 5)), console_kwargs={"width": 200})
    for part in ("conv", "lstm", "core_0", "hh_l0_reverse.core_1", "[3,2,4]"):
        assert part in text, text


@pytest.mark.parametrize("library", ["nnx", "eqx"])
def test_a_cast_by_tree_map_is_followed(library):
    """Cast to bfloat16, a layer computes, plans, draws and begins its states in bfloat16."""
    half = lambda tree: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)  # noqa: E731
    layer = half(tnl.build("mpo(in=3x4, out=2x5, bias=true, bond=3)", backend="jax", seed=0))
    assert layer.dtype == "bfloat16"
    assert {array.dtype.name for array in jax.eval_shape(layer.init, jax.random.key(0)).values()} == {"bfloat16"}
    assert layer.plan_for(64).dtype == "bfloat16"
    x = jnp.ones((3, 2, 6), jnp.bfloat16)
    module = half(tnl.jax.eqx.TNModule(sequence()))
    if library == "nnx":
        graph, state = nnx.split(tnl.jax.nnx.TNModule(sequence()))
        module = nnx.merge(graph, half(state))
    y, states = (nnx.jit if library == "nnx" else eqx.filter_jit)(lambda module, x: module(x))(module, x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((y, states))} == {"bfloat16"}
    exact = tnl.to_backend(sequence(), "numpy")(np.ones(x.shape, np.float32))[0]
    assert 0 < np.abs(y.astype(np.float32) - exact).max() < 0.03
    if library == "nnx":
        cell = nnx.eval_shape(lambda: tnl.jax.nnx.TNLSTMCell(6, 4, network=NETWORK, rngs=nnx.Rngs(0)))
        graph, state = nnx.split(cell)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), state)
        assert nnx.RNN(nnx.merge(graph, zeros))(jnp.ones((2, 5, 6), jnp.bfloat16)).dtype == jnp.bfloat16
