"""Kinds of layers for Flax NNX and Equinox: trained by optax as their torch twins, called as flax and Equinox call."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from jax_cases import x64

import tnlayers as tnl

STEPS = 4
NETWORK = "mpo(cores=2, bond=3)"
OPTIONS = {"network": NETWORK, "dtype": torch.float64, "seed": 0}


@pytest.fixture
def in_64_bits():
    with x64(True):
        yield


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def eqx_made(make, *sizes, **options):
    """An Equinox module without values: drawing them takes seconds to compile."""
    own = {"network": NETWORK, "dtype": jnp.float64} | options
    return eqx.filter_eval_shape(lambda key: make(*sizes, key=key, **own), jax.random.key(3))


def nnx_made(make, *sizes, **options):
    """A module of flax with values that are cheap to make."""
    own = {"param_dtype": jnp.float64} | options
    module = nnx.eval_shape(lambda: make(*sizes, rngs=nnx.Rngs(0), **own))
    numbers = iter(range(1, 100))
    values = jax.tree.map(
        lambda leaf: jnp.asarray(normal(*leaf.shape, seed=next(numbers)), leaf.dtype), nnx.state(module)
    )
    nnx.update(module, values)
    return module


def torch_losses(module, x):
    optimizer, found = torch.optim.Adam(module.parameters(), lr=1e-2), []
    for _ in range(STEPS):
        y = module(torch.from_numpy(x))
        loss = (y**2).mean() + y.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def nnx_losses(module, x):
    optimizer = nnx.Optimizer(module, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer):
        loss, gradients = nnx.value_and_grad(lambda module: (y := module(x), jnp.mean(y**2) + jnp.mean(y))[1])(module)
        optimizer.update(module, gradients)
        return loss

    return [float(step(module, optimizer)) for _ in range(STEPS)]


@pytest.mark.usefixtures("in_64_bits")
def test_a_convolution_with_a_stride_and_groups_trains_as_its_torch_twin():
    """Every kind is trained in `tests/backends/test_parity.py`, with its defaults."""
    twin, x = tnl.nn.TNConv2d(4, 6, 3, stride=2, padding=1, groups=2, **OPTIONS), normal(3, 4, 6, 5)
    layer = tnl.to_backend(twin, "jax")
    other = eqx_made(tnl.jax.eqx.TNConv2d, 4, 6, 3, 2, 1, groups=2)
    other = eqx.tree_at(lambda module: module.layer, other, layer)
    np.testing.assert_allclose(jax.jit(other)(x), twin(torch.from_numpy(x)).detach(), rtol=1e-10, atol=1e-12)
    expected, last = torch_losses(twin, x), np.moveaxis(x, 1, -1)
    np.testing.assert_allclose(nnx_losses(tnl.jax.nnx.TNConv.of(layer), last), expected, rtol=1e-9)
    assert expected[-1] < expected[0]
    wrong = jax.tree.map(lambda leaf: leaf * (1 + 1e-6), layer)
    assert not np.allclose(nnx_losses(tnl.jax.nnx.TNConv.of(wrong), last), expected, rtol=1e-8)


@pytest.mark.usefixtures("in_64_bits")
def test_attention_is_that_of_torch_flax_and_equinox():
    twin = tnl.nn.TNMultiheadAttention(12, 3, batch_first=True, **OPTIONS)
    module = tnl.jax.nnx.TNMultiHeadAttention(3, 12, network=NETWORK, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    other = eqx_made(tnl.jax.eqx.TNMultiheadAttention, 3, 12, **dict.fromkeys(BIASES, True))
    for name, short in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
        layer = tnl.to_backend(getattr(twin, f"{short}_proj"), "jax")
        setattr(module, name, tnl.jax.nnx.TNLinear.of(layer))
        long = "output" if name == "out" else name
        other = eqx.tree_at(lambda one, long=long: getattr(one, f"{long}_proj").layer, other, layer)
    q, k, v, hidden = normal(2, 5, 12), normal(2, 4, 12, seed=2), normal(2, 4, 12, seed=3), np.zeros((5, 4), bool)
    hidden[:, 2:] = True
    expected = twin(*map(torch.from_numpy, (q, k, v)), attn_mask=torch.from_numpy(hidden))[0].detach().numpy()
    np.testing.assert_allclose(nnx.jit(lambda m: m(q, k, v, mask=~hidden))(module), expected, rtol=1e-10, atol=1e-12)
    found = jax.jit(jax.vmap(lambda q, k, v: other(q, k, v, ~hidden)))(q, k, v)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert not np.allclose(nnx.jit(lambda m: m(q, k, v))(module), expected)
    plain = nnx.MultiHeadAttention(
        3, 12, param_dtype=jnp.float64, kernel_init=nnx.initializers.zeros, decode=False, rngs=nnx.Rngs(0)
    )
    for name in ("query", "key", "value"):
        layer = getattr(module, name).layer
        getattr(plain, name).kernel[...] = layer.to_dense().T.reshape(12, 3, 4)
        getattr(plain, name).bias[...] = layer.bias.reshape(3, 4)
    plain.out.kernel[...], plain.out.bias[...] = module.out.layer.to_dense().T.reshape(3, 4, 12), module.out.layer.bias
    # jax.nn.dot_product_attention, which flax takes, has its softmax in single precision whatever the inputs are.
    np.testing.assert_allclose(plain(q, k, v, mask=~hidden[None, None]), expected, rtol=1e-5, atol=1e-6)
    module.eval()
    with pytest.raises(tnl.TNLayersError, match="must divide"):
        tnl.jax.nnx.TNMultiHeadAttention(5, 12, rngs=nnx.Rngs(0))


BIASES = ("use_query_bias", "use_key_bias", "use_value_bias", "use_output_bias")
PADDINGS = ["SAME", "VALID", "CIRCULAR", 2, ((1, 0), (0, 2))]


@pytest.mark.parametrize(("strides", "padding"), list(zip((3, 2, 1, 2, 1), PADDINGS, strict=True)), ids=str)
@pytest.mark.usefixtures("in_64_bits")
def test_convolutions_pad_as_those_of_flax(padding, strides):
    own = {"strides": strides, "padding": padding, "kernel_dilation": (1, 2)}
    module = nnx_made(tnl.jax.nnx.TNConv, 4, 6, (3, 2), network=NETWORK, **own)
    plain = nnx_made(nnx.Conv, 4, 6, (3, 2), **own)
    plain.kernel[...] = jnp.transpose(module.layer.to_dense(), (2, 3, 1, 0))
    plain.bias[...] = module.bias[...]
    x = normal(2, 3, 7, 8, 4)
    np.testing.assert_allclose(nnx.jit(lambda m: m(x))(module), plain(x), rtol=1e-10, atol=1e-12)


def test_what_is_drawn_is_of_flax_size():
    table = tnl.jax.nnx.TNEmbedding(1000, 64, network="mpo(cores=2, bond=16)", rngs=nnx.Rngs(0))
    assert float(table.layer.norm2()) == pytest.approx(1000, rel=0.2)  # rows of norm 1
    query = jnp.ones((3, 64))
    np.testing.assert_allclose(table.attend(query), query @ table.layer.to_dense().T, rtol=1e-3, atol=1e-5)
    assert table(jnp.array([[1, 2]])).shape == (1, 2, 64)
    with pytest.raises(tnl.TNLayersError, match="Id 1000 is out of range"):
        table(jnp.array([1000]))
    hidden = nnx.jit(lambda table, ids: table(ids))(table, jnp.array([-1, 0, 1000]))
    assert jnp.isnan(hidden).all(1).tolist() == [True, False, True]


def test_dtypes_follow_a_cast_and_names_are_those_of_flax():
    module = nnx_made(tnl.jax.nnx.TNConv, 4, 6, (3,), network=NETWORK, param_dtype=jnp.float32)
    assert sorted(nnx.state(module, nnx.Param)) == ["bias", "core_0", "core_1", "core_2"]
    graph, state = nnx.split(module)
    halved = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state))
    x = jnp.ones((2, 8, 4))
    assert halved(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert halved(x).dtype == jnp.float32  # as flax promotes
    module.dtype = jnp.bfloat16
    assert module(x).dtype == jnp.bfloat16
    with pytest.raises(tnl.TNLayersError, match="padding=-1"):
        tnl.jax.nnx.TNConv(4, 6, 3, padding=-1, rngs=nnx.Rngs(0))
    with pytest.raises(tnl.TNLayersError, match="dimensions"):
        tnl.jax.nnx.TNConv(4, 6, (3,) * 4, rngs=nnx.Rngs(0))


def test_statistics_of_a_model_are_no_parameters():
    torch_model = torch.nn.Sequential(torch.nn.BatchNorm1d(12), tnl.nn.TNLinear(12, 4, network=NETWORK, seed=0)).eval()
    layer = tnl.to_backend(torch_model, "jax")
    module = tnl.jax.nnx.TNModule(layer)
    assert sorted(nnx.state(module, nnx.BatchStat)) == ["0.running_mean", "0.running_var"]
    assert "1.core_0" in nnx.state(module, nnx.Param)
    x = jnp.ones((3, 12))
    gradient = jax.grad(lambda model: model(x).sum())(layer)
    assert not gradient.params["0.running_var"].any()
    assert gradient.params["0.weight"].any()
    module.train()
    np.testing.assert_allclose(module(x), torch_model(torch.ones(3, 12)).detach(), rtol=1e-5, atol=1e-6)


def test_leaves_of_equinox_are_written_and_read(tmp_path):
    torch_layers = (tnl.nn.TNConv1d(4, 6, 3, network=NETWORK, seed=seed) for seed in (0, 1))
    one, other = (tnl.jax.eqx.TNModule(tnl.to_backend(layer, "jax")) for layer in torch_layers)
    eqx.tree_serialise_leaves(tmp_path / "conv.eqx", one)
    x = jnp.ones((4, 9))
    assert not jnp.array_equal(one(x), other(x))
    assert jnp.array_equal(eqx.tree_deserialise_leaves(tmp_path / "conv.eqx", other)(x), one(x))


@pytest.mark.usefixtures("in_64_bits")
def test_simple_cells_are_those_of_torch():
    twin = tnl.nn.TNRNNCell(6, 8, nonlinearity="relu", **OPTIONS)
    cell = nnx_made(tnl.jax.nnx.TNSimpleCell, 6, 8, nonlinearity="relu", network=NETWORK)
    cell.ih, cell.hh = (tnl.jax.nnx.TNLinear.of(tnl.to_backend(one, "jax")) for one in (twin.ih, twin.hh))
    x = normal(5, 3, 6)
    hidden = None
    for step in x:
        hidden = twin(torch.from_numpy(step), hidden)
    found = nnx.RNN(cell, time_major=True)(jnp.asarray(x))[-1]
    np.testing.assert_allclose(found, hidden.detach(), rtol=1e-10, atol=1e-12)
