"""Every layer kind on every backend and back: it works, or is a known gap that is refused in words."""

from contextlib import nullcontext

import numpy as np
import pytest
from gaps import GAPS
from kind_rows import KINDS, inputs, leaves

import tnlayers as tnl

torch = pytest.importorskip("torch")
BACKENDS = ("numpy", "torch", "jax")
# Networks with one core fewer than was asked, in modes that a size does not have.
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


def wide(backend):
    """Where a backend computes in 64 bits."""
    if backend != "jax":
        return nullcontext()
    pytest.importorskip("jax")
    from jax_cases import x64

    return x64(True)


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
    held = {name: getattr(tnl.nn, name) for name in tnl.nn.__all__}
    modules = {name for name, one in held.items() if isinstance(one, type) and issubclass(one, torch.nn.Module)}
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
