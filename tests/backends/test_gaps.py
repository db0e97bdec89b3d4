"""Every layer kind on every backend: it works there, or is a known gap that is refused in words."""

from contextlib import nullcontext

import numpy as np
import pytest
from gaps import GAPS

import tnlayers as tnl

torch = pytest.importorskip("torch")
BACKENDS = ("numpy", "torch", "jax")
OPTIONS = {"seed": 0, "dtype": torch.float64}
CELL, SEQUENCE = (5, 6), (5, 3, 6)
# Layer kind -> a layer in float64, and the shape of its input.
KINDS = {
    "TNLinear": (lambda: tnl.nn.TNLinear(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), (5, 12)),
    "MPOLinear": (lambda: tnl.nn.MPOLinear(12, 10, in_modes=(3, 4), out_modes=(2, 5), bond_dim=3, **OPTIONS), (5, 12)),
    "TNConv1d": (lambda: tnl.nn.TNConv1d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5)),
    "TNConv2d": (lambda: tnl.nn.TNConv2d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5, 5)),
    "TNConv3d": (lambda: tnl.nn.TNConv3d(4, 6, 3, network="mpo(cores=2, bond=3)", **OPTIONS), (2, 4, 5, 5, 5)),
    "TNEmbedding": (lambda: tnl.nn.TNEmbedding(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "rows"),
    "TNEmbeddingBag": (lambda: tnl.nn.TNEmbeddingBag(12, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "rows"),
    "TNBilinear": (lambda: tnl.nn.TNBilinear(3, 4, 10, network="mpo(cores=2, bond=3)", **OPTIONS), "pair"),
    "TNTensorLinear": (lambda: tnl.nn.TNTensorLinear((3, 4), (2, 5), network="mpo(bond=3)", **OPTIONS), (5, 3, 4)),
    "TNMultiheadAttention": (lambda: tnl.nn.TNMultiheadAttention(12, 3, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNRNNCell": (lambda: tnl.nn.TNRNNCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNLSTMCell": (lambda: tnl.nn.TNLSTMCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNGRUCell": (lambda: tnl.nn.TNGRUCell(6, 4, network="mpo(cores=2)", **OPTIONS), CELL),
    "TNRNN": (lambda: tnl.nn.TNRNN(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNLSTM": (lambda: tnl.nn.TNLSTM(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNGRU": (lambda: tnl.nn.TNGRU(6, 4, network="mpo(cores=2)", **OPTIONS), SEQUENCE),
    "TNAdapter": (lambda: tnl.nn.TNAdapter(torch.nn.Linear(12, 10).double(), "mpo(cores=2, bond=3)", seed=0), (5, 12)),
}

# Networks with one core fewer than was asked, in modes that a size does not have.
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


def inputs(shape):
    rng = np.random.default_rng(1)
    if shape == "pair":
        return rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
    return (rng.integers(0, 12, (5, 3)) if shape == "rows" else rng.standard_normal(shape),)


def wide(backend):
    """Where a backend computes in 64 bits."""
    if backend != "jax":
        return nullcontext()
    pytest.importorskip("jax")
    from jax_cases import x64

    return x64(True)


def output(layer, backend, given):
    y = layer(*(torch.from_numpy(x) if backend == "torch" else x for x in given))
    return np.asarray(y.detach() if backend == "torch" else y)


def assert_works(kind, backend):
    """On the backend, the layer gives what it gives on torch."""
    make, shape = KINDS[kind]
    layer, x = make(), inputs(shape)
    with wide(backend):
        moved = tnl.to_backend(layer, backend)
        found, expected = output(moved, backend, x), output(layer, "torch", x)
    assert found.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def assert_refused(kind, backend):
    """Moving it there is refused, by what mends it; if it works, it is no gap and its row in gaps.py goes."""
    layer = KINDS[kind][0]()
    with wide(backend), pytest.raises(tnl.TNLayersError) as caught:
        tnl.to_backend(layer, backend)
    said = str(caught.value)
    assert 60 < len(said) < 2_000
    assert "Use backend='torch'" in said or "one by one" in said
    assert type(layer).__name__ in said or "of kind" in said


@pytest.mark.parametrize(("kind", "backend"), [(k, b) for k in KINDS for b in BACKENDS if (b, k) not in GAPS])
def test_what_is_no_gap_works(kind, backend):
    assert_works(kind, backend)


@pytest.mark.parametrize(("backend", "kind"), GAPS)
def test_gaps_are_refused_in_words(backend, kind):
    assert_refused(kind, backend)


def test_a_gap_that_was_closed_is_seen():
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        assert_refused("TNLinear", "numpy")


def test_every_layer_kind_has_a_row():
    modules = {name for name in tnl.nn.__all__ if isinstance(getattr(tnl.nn, name), type)}
    assert modules == set(KINDS)
    assert {kind for _, kind in GAPS} <= set(KINDS)
    assert {backend for backend, _ in GAPS} <= set(BACKENDS)
    assert all(len(reason.split()) > 4 for reason in GAPS.values())


def test_the_comparison_sees_a_difference(monkeypatch):
    move = tnl.to_backend

    def spoilt(layer, backend):
        moved = move(layer, backend)
        moved.cores["core_0"][...] *= 1 + 1e-9
        return moved

    monkeypatch.setattr(tnl, "to_backend", spoilt)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_works("TNLinear", "numpy")
