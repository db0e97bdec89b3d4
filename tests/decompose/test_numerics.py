"""Ranks that stand out of noise, and weights that break careless arithmetic: tiny, huge, zero, deficient, narrow."""

import numpy as np
import pytest
import torch
from oracle import oracle_weight

import tnlayers as tnl
from tnlayers.compress import decompose
from tnlayers.cores.vbmf import kept_values

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.errors.TNLayersWarning")
METHODS = ["mpo(cores=3)", "tree(cores=3)", "tucker", "lowrank", "ring(cores=3)", "cp(cores=2)", "monarch", "peps"]


def planted(rows, columns, rank, noise, seed=0):
    """Low rank and noise, entries of the first of size root of rank."""
    rng = np.random.default_rng(seed)
    clean = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return clean + noise * rng.standard_normal((rows, columns))


@pytest.mark.parametrize("shape", [(60, 80), (200, 64), (96, 96)])
@pytest.mark.parametrize(("rank", "noise"), [(1, 1.0), (3, 0.5), (12, 1.0), (5, 1e-9)])
def test_planted_ranks_are_found(shape, rank, noise):
    weight = planted(*shape, rank, noise)
    found = decompose(weight, "lowrank", bond_dim="vbmf")
    assert dict(found.spec.options)["rank"] == rank
    assert found.asked == "bond_dim=vbmf"


def test_noise_alone_and_exact_rank():
    assert (
        decompose(planted(64, 64, 1, 0.0) * 0 + planted(64, 64, 1, 1e3), "lowrank", bond_dim="vbmf").parameters == 128
    )
    assert kept_values(np.linalg.svd(planted(50, 70, 4, 0.0), compute_uv=False) ** 2, 50, 70) == 4
    assert kept_values([0.0, 0.0], 2, 3) == 1
    full = planted(64, 64, 30, 0.1)  # the count follows the weight, not the shape
    assert kept_values(np.linalg.svd(full, compute_uv=False) ** 2, 64, 64) == 30


def test_every_bond_of_a_chain_is_found():
    layer = tnl.build("mpo(in=4x6x4, out=4x4x6, bond=3-5)", backend="numpy", dtype="float64")
    weight = layer.to_dense()
    noisy = weight + 0.05 * weight.std() * np.random.default_rng(0).standard_normal(weight.shape)
    assert decompose(noisy, "mpo(in=4x6x4, out=4x4x6)", bond_dim="vbmf").spec == layer.spec
    dense = torch.nn.Linear(96, 96)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(noisy))
    assert tnl.nn.TNLinear.from_linear(dense, "mpo(in=4x6x4, out=4x4x6)", bond_dim="vbmf").spec.bond_dim == (3, 5)
    with pytest.raises(tnl.TNLayersError, match="reads the singular values at every bond"):
        decompose(noisy, "ring(cores=3)", bond_dim="vbmf")


@pytest.mark.parametrize("network", METHODS)
@pytest.mark.parametrize("scale", [1e-150, 1e150, 0.0])
@pytest.mark.parametrize("aware", [False, True])
def test_any_scale(network, scale, aware):
    weight = planted(12, 18, 2, 0.1)
    moment = np.diag(np.linspace(1, 3, 18)) if aware else None
    keywords = {"covariance": moment, "sweeps": 5, "restarts": 1}
    unit, found = (decompose(w, tnl.spec(network, 18, 12), **keywords) for w in (weight, weight * scale))
    assert all(np.isfinite(core).all() for core in found.cores.values())
    assert found.error == pytest.approx(unit.error if scale else 0.0, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("network", METHODS)
def test_deficient_weights_are_fitted(network):
    weight = np.outer(np.arange(1.0, 13), np.sin(np.arange(18)))  # of rank 1: normal equations have no full rank
    found = decompose(weight, tnl.spec(network, 18, 12), sweeps=30)
    assert np.isfinite(oracle_weight(found.spec, list(found.cores.values())).value).all()
    assert found.error < 0.6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("network", ["mpo", "cp", "lowrank"])
def test_no_number_is_an_error(bad, network):
    weight = planted(12, 18, 2, 0.1)
    weight[3, 4] = bad
    with pytest.raises(tnl.TNLayersError, match="1 of the 216 entries of the weight are NaN or infinite"):
        decompose(weight, network, ratio=0.5)


def test_double_precision_when_asked():
    weight = planted(96, 96, 96, 1.0).astype(np.float32)
    spec = tnl.spec("lowrank(rank=96)", 96, 96)
    single, double = (decompose(weight, spec, precise=precise) for precise in (False, True))
    assert {core.dtype for core in double.cores.values()} == {np.dtype("float32")}
    assert double.error < 1e-12 < single.error < 1e-5  # measured before the cores are rounded to single


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    weight = torch.from_numpy(planted(24, 36, 3, 0.1)).to(dtype)
    found = decompose(weight, "mpo(cores=2)", ratio=0.5)
    assert {core.dtype for core in found.cores.values()} == {dtype}
    assert found.error < 0.7


def test_tucker_by_sweeps_is_no_worse_than_by_svds():
    weight = planted(24, 36, 24, 0.5)
    hosvd = decompose(weight, "tucker(bond=4)")
    hooi = decompose(weight, "tucker(bond=4)", sweeps=30)
    assert hooi.error < hosvd.error <= np.sqrt(hosvd.discarded) * (1 + 1e-9)
