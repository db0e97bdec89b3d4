"""Weights of jax are decomposed as those of numpy are, and a decomposition is a layer of any backend in one call."""

import numpy as np
import pytest

import tnlayers as tnl
from tnlayers.compress import decompose

jax = pytest.importorskip("jax")
x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
WEIGHT = np.random.default_rng(0).standard_normal((12, 18))


@pytest.mark.parametrize("network", ["mpo(cores=2)", "tucker", "ring(cores=3)", "lowrank"])
def test_the_same_cores_as_of_numpy(network):
    with x64(True):
        found = decompose(jax.numpy.asarray(WEIGHT), network, bond_dim=3)
        expected = decompose(WEIGHT, network, bond_dim=3)
        assert found.spec == expected.spec
        assert found.error == pytest.approx(expected.error, rel=1e-6)
        assert all(isinstance(core, jax.Array) for core in found.cores.values())
        dense = np.asarray(found.layer().to_dense())
        assert np.linalg.norm(dense - WEIGHT) / np.linalg.norm(WEIGHT) == pytest.approx(found.error, rel=1e-9)


def test_single_precision_and_what_needs_the_64_bit_mode():
    weight = jax.numpy.asarray(WEIGHT, "float32")
    assert decompose(weight, "mpo(cores=2)", error=0.2).error <= 0.2
    with pytest.raises(tnl.TNLayersError, match="jax_enable_x64"):
        decompose(weight, "mpo(cores=2)", bond_dim=3, precise=True)
    with pytest.raises(tnl.TNLayersError, match="jax_enable_x64"):
        decompose(weight.astype("bfloat16"), "mpo(cores=2)", bond_dim=3)


@pytest.mark.parametrize("backend", [None, "numpy", "torch", "jax"])
def test_a_decomposition_is_a_layer(backend):
    found = decompose(WEIGHT.astype(np.float32), "mpo(cores=2)", bond_dim=3)
    layer = found.layer(backend)
    made = tnl.build("mpo(in=3x6, out=3x4, bond=2)", backend or "numpy")
    assert type(layer) is type(made)
    assert layer.spec == found.spec
    dense = layer.to_dense()
    dense = dense.detach().numpy() if backend == "torch" else np.asarray(dense)
    assert np.linalg.norm(dense - WEIGHT) / np.linalg.norm(WEIGHT) == pytest.approx(found.error, rel=1e-4)


def test_orders_are_refused():
    found = decompose(WEIGHT, "mpo(in=3x6, out=3x4)", bond_dim=2, search=0.3)
    if not found.order_bytes:
        pytest.skip("the search found no better order")
    with pytest.raises(tnl.TNLayersError, match="an order of its own"):
        found.layer()


def test_the_default_backend_is_the_first_that_is_installed(monkeypatch):
    assert isinstance(tnl.build("mpo(in=4x4, out=4x4, bond=2)"), tnl.nn.TNLinear)
    monkeypatch.setattr("tnlayers.backends.installed", lambda: ("jax", "numpy"))
    assert type(tnl.build("mpo(in=4x4, out=4x4, bond=2)")).__name__ == "JaxLinear"
    monkeypatch.setattr("tnlayers.backends.installed", lambda: ("numpy",))
    assert type(tnl.build("mpo(in=4x4, out=4x4, bond=2)")).__name__ == "NumpyLinear"
