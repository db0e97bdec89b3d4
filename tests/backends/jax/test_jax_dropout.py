"""Dropout between stacked recurrent layers for Flax NNX and Equinox: what is dropped, when, and by which generator."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import tnlayers as tnl

RATE, HIDDEN = 0.25, 32
SIZES = {"network": "mpo(cores=2, bond=3)", "num_layers": 2}
X = jnp.asarray(np.random.default_rng(0).standard_normal((3, 16, 6)), jnp.float32)  # (steps, batch, size)


def of_flax(name, **keywords):
    keywords = {"dropout_rate": RATE, "rngs": nnx.Rngs(0, dropout=1)} | SIZES | keywords
    return getattr(tnl.jax.nnx, name)(6, HIDDEN, time_major=True, **keywords)


def of_equinox(name, **keywords):
    keywords = {"dropout_p": RATE, "key": jax.random.key(0)} | SIZES | keywords
    return getattr(tnl.jax.eqx, name)(6, HIDDEN, **keywords)


MAKES = {
    "flax": (of_flax, lambda layer, key: layer(X, rngs=nnx.Rngs(dropout=key)), lambda layer: layer(X)),
    "equinox": (of_equinox, lambda layer, key: layer(x=X, key=key)[0], lambda layer: layer(X)[0]),
}
NAMES = [(kit, name) for kit in MAKES for name in ("TNLSTM", "TNGRU")]


def passed_between(layer, key, call, monkeypatch):
    """What the second layer is given, with its mask, for one key."""
    seen = []
    inner = type(layer.layer.form).run_child

    def noted(form, at, arrays, name, *inputs):
        seen.extend([inputs[0]] if name == "ih_l1" else [])
        return inner(form, at, arrays, name, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(type(layer.layer.form), "run_child", noted)
        call(layer, key)
    assert len(seen) == 1
    return np.asarray(seen[0])


@pytest.mark.parametrize(("kit", "name"), NAMES)
def test_a_share_is_dropped_and_the_rest_is_scaled(kit, name, monkeypatch):
    make, call, _ = MAKES[kit]
    layer = make(name)
    whole = np.asarray(layer.layer(X)[0])  # the layer of now evaluates: its first output goes whole to the second
    clean = np.asarray(passed_between(layer, None, lambda layer, key: layer.layer(X), monkeypatch))
    given = np.stack([passed_between(layer, jax.random.key(k), call, monkeypatch) for k in range(5)])
    zeros = given == 0
    kept = np.broadcast_to(clean, given.shape)[~zeros]
    np.testing.assert_allclose(given[~zeros], kept / (1 - RATE), rtol=1e-5, atol=1e-6)
    spread = (RATE * (1 - RATE) / zeros.size) ** 0.5
    assert abs(zeros.mean() - RATE) < 5 * spread
    step = zeros.mean((0, 1))  # over keys and steps: each unit of each sequence is dropped on its own
    assert step.max() - step.min() > RATE
    scale = np.abs(clean).mean()
    assert abs(np.mean(given * np.sign(clean)) / scale - 1) < 0.05  # the mean stays
    assert not np.allclose(call(layer, jax.random.key(0)), whole, atol=1e-3)


@pytest.mark.parametrize(("kit", "name"), NAMES)
def test_nothing_is_dropped_in_inference(kit, name):
    make, call, plain = MAKES[kit]
    layer = make(name)
    expected = layer.layer(X)[0]
    if kit == "flax":
        off = (layer(X, deterministic=True), plain(nnx.view(layer, deterministic=True)))
        layer.eval()
        off += (plain(layer), call(layer, jax.random.key(0)))
        layer.train()
    else:
        off = (layer(X, inference=True)[0], plain(eqx.nn.inference_mode(layer)), plain(make(name, inference=True)))
    for y in off:
        np.testing.assert_array_equal(y, expected)
    one, again, other = (call(layer, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other, atol=1e-3)


def test_the_generator_of_a_flax_module_moves_on():
    layer = of_flax("TNGRU")
    assert not np.allclose(layer(X), layer(X), atol=1e-3)
    step = nnx.jit(lambda layer: layer(X))
    assert not np.allclose(step(layer), step(layer), atol=1e-3)
    assert set(nnx.state(of_flax("TNGRU", dropout_rate=0.0))) == set(layer.form.shapes)


@pytest.mark.parametrize("kit", MAKES)
def test_each_gap_draws_its_own_mask(kit, monkeypatch):
    make, call, _ = MAKES[kit]
    layer, masks = make("TNRNN", num_layers=3, nonlinearity="tanh"), []
    module = nnx if kit == "flax" else eqx.nn
    inner = module.Dropout.__call__

    def noted(self, x, **keywords):
        y = inner(self, x, **keywords)
        masks.append(np.asarray(y == 0))
        return y

    monkeypatch.setattr(module.Dropout, "__call__", noted)
    call(layer, jax.random.key(0))
    assert len(masks) == 2
    assert (masks[0] != masks[1]).mean() > RATE / 2


def test_gradients_go_through_what_is_left():
    layer, key = of_equinox("TNLSTM"), jax.random.key(0)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda layer: jnp.sum(layer(X, key=key)[0] ** 2)))(layer)
    step = 1e-2
    found = gradient.layer.params["ih_l0.core_0"]

    def loss(shift):
        place = lambda one: one.layer.params["ih_l0.core_0"]  # noqa: E731
        return jnp.sum(eqx.tree_at(place, layer, place(layer) + shift * found)(X, key=key)[0] ** 2)

    slope = (loss(step) - loss(-step)) / (2 * step)
    np.testing.assert_allclose(slope, jnp.sum(found**2), rtol=2e-2)


REFUSED = {
    "no key": (lambda: of_equinox("TNLSTM")(X), "the call has no key to draw by"),
    "no stream": (lambda: of_flax("TNLSTM", rngs=nnx.Rngs(params=0)), "from the stream 'dropout'"),
    "no stream in a call": (lambda: of_flax("TNGRU")(X, rngs=nnx.Rngs(params=0)), r"rngs has only \['params'\]"),
    "no stream for attention": (
        lambda: tnl.jax.nnx.TNMultiHeadAttention(2, 8, dropout_rate=0.5, rngs=nnx.Rngs(params=0)),
        "from the stream 'dropout'",
    ),
    "one layer": (lambda: of_flax("TNGRU", num_layers=1), r"dropout_rate=0\.25 with num_layers=1"),
    "one layer in Equinox": (lambda: of_equinox("TNGRU", num_layers=1), r"dropout_p=0\.25 with num_layers=1"),
    "a rate": (lambda: of_flax("TNGRU", dropout_rate=1.5), r"dropout_rate=1\.5"),
    "a rate in Equinox": (lambda: of_equinox("TNGRU", dropout_p=-0.5), r"dropout_p=-0\.5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_words(name):
    ask, words = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()


def test_attention_that_drops_nothing_needs_no_stream():
    layer = tnl.jax.nnx.TNMultiHeadAttention(2, 8, network=SIZES["network"], rngs=nnx.Rngs(params=0))
    assert layer(jnp.ones((1, 3, 8))).shape == (1, 3, 8)
