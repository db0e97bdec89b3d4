"""Every layer kind on every backend and back: it works, or is a known gap that is refused in words."""

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
    "TNMultiheadAttention": (lambda: tnl.nn.TNMultiheadAttention(12, 3, network="mpo(cores=2)", **OPTIONS), "three"),
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
    if shape == "three":
        return tuple(rng.standard_normal((5, 3, 12)) for _ in range(3))
    return (rng.integers(0, 12, (5, 3)) if shape == "rows" else rng.standard_normal(shape),)


def wide(backend):
    """Where a backend computes in 64 bits."""
    if backend != "jax":
        return nullcontext()
    pytest.importorskip("jax")
    from jax_cases import x64

    return x64(True)


def leaves(value):
    """The arrays of what a module gives, as numpy's."""
    if isinstance(value, tuple):
        return [one for part in value for one in leaves(part)]
    return [] if value is None else [np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)]


def output(layer, backend, given):
    return leaves(layer(*(torch.from_numpy(x) if backend == "torch" else x for x in given)))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def assert_works(kind, backend):
    """On the backend, the layer gives what it gives on torch."""
    make, shape = KINDS[kind]
    layer, x = make(), inputs(shape)
    with wide(backend):
        moved = tnl.to_backend(layer, backend)
        assert moved is not layer
        assert_same(output(moved, backend, x), output(layer, "torch", x))


def assert_comes_back(kind, backend):
    """Moved to the backend and back to torch, the layer is what it was."""
    make, shape = KINDS[kind]
    layer, x = make(), inputs(shape)
    with wide(backend):
        again = tnl.to_backend(tnl.to_backend(layer, backend), "torch")
    assert isinstance(again, torch.nn.Module)
    assert_same(output(again, "torch", x), output(layer, "torch", x))


def assert_refused(kind, backend):
    """Coming back to torch is refused, by what mends it; if it works, it is no gap and its row in gaps.py goes."""
    layer = KINDS[kind][0]()
    with wide(backend):
        moved = tnl.to_backend(layer, backend)
        with pytest.raises(tnl.TNLayersError) as caught:
            tnl.to_backend(moved, "torch")
    said = str(caught.value)
    assert 60 < len(said) < 2_000
    assert "one by one" in said
    assert "of kind" in said


@pytest.mark.parametrize(("kind", "backend"), [(k, b) for k in KINDS for b in BACKENDS])
def test_every_kind_works_on_every_backend(kind, backend):
    assert_works(kind, backend)


@pytest.mark.parametrize("backend", ["numpy", "jax"])
@pytest.mark.parametrize("kind", KINDS)
def test_back_to_torch_or_a_gap_that_is_refused_in_words(kind, backend):
    (assert_refused if ("torch", kind) in GAPS else assert_comes_back)(kind, backend)


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
