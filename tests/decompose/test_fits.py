"""Errors that are asked for: what 0 means, for every type and dtype; and what is no error."""

import numpy as np
import pytest

import tnlayers as tnl
from tnlayers.decompose.decomposition import decompose

# A network, and the template that a weight of it is given back as.
HELD = {
    "mpo(in=8x8, out=8x8, bond=5)": "mpo(in=8x8, out=8x8)",
    "mpo(in=4x4x4, out=4x4x4, bond=3)": "mpo(in=4x4x4, out=4x4x4)",
    "lowrank(in=64, out=64, rank=5)": "lowrank",
    "kronecker(in=8x8, out=8x8, terms=5)": "kronecker(in=8x8, out=8x8)",
    "tree(in=4x4x4, out=4x4x4, bond=3)": "tree(in=4x4x4, out=4x4x4)",
    "tucker(in=4x4x4, out=4x4x4, bond=2)": "tucker(in=4x4x4, out=4x4x4)",
    "ring(in=4x4x4, out=4x4x4, bond=2)": "ring(in=4x4x4, out=4x4x4)",
    "cp(in=4x4x4, out=4x4x4, rank=3)": "cp(in=4x4x4, out=4x4x4)",
    "peps(in=4x4x4, out=4x4x4, bond=2)": "peps(in=4x4x4, out=4x4x4)",
    "btt(in=8x8, out=8x8, rank=2)": "btt(in=8x8, out=8x8)",
    "blockdiag(in=4x16, out=4x16, blocks=4)": "blockdiag",
}
# At full size each of these holds any weight.
UNIVERSAL = ("mpo", "lowrank", "kronecker", "tree", "tucker", "btt", "block_term", "ring", "peps")


def rebuilt(found):
    """W' of a decomposition, in double precision."""
    layer = tnl.build(found.spec, "numpy", seed=0, dtype="float64")
    for name, core in found.cores.items():
        layer.cores[name][...] = core
    return np.asarray(layer.to_dense())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", HELD)
def test_no_error_takes_no_more_than_a_weight_has(text, dtype):
    weight = np.asarray(tnl.build(text, "numpy", seed=0, dtype="float64").to_dense()).astype(dtype)
    found = decompose(weight, HELD[text], error=0)
    assert found.parameters <= tnl.spec(text).parameters
    assert found.error <= 100 * np.finfo(dtype).eps
    wrong = np.linalg.norm(rebuilt(found) - weight) / np.linalg.norm(weight)
    assert wrong <= 200 * np.finfo(dtype).eps


@pytest.mark.parametrize("network", UNIVERSAL)
def test_no_error_of_a_full_weight(network):
    sizes = (6, 8) if network == "block_term" else (12, 20)  # its fits take longest
    weight = np.random.default_rng(0).standard_normal(sizes)
    found = decompose(weight, network, error=0)
    assert found.error <= 100 * np.finfo("float64").eps


def test_a_tree_is_as_large_as_it_has_to_be():
    weight = np.random.default_rng(0).standard_normal((30, 48))
    found = decompose(weight, "tree", error=0)
    assert dict(found.spec.options)["bond_dim"] == 36
    assert found.error < 1e-13
    assert decompose(weight, "tree", error=0.05).error <= 0.05


def test_types_that_cannot_hold_a_weight_say_how_near_they_come():
    weight = np.random.default_rng(0).standard_normal((30, 48))
    with pytest.raises(tnl.TNLayersError, match=r"monarch.* error of 0\.7\d+ with 468 parameters.* no larger one"):
        decompose(weight, "monarch", error=0, restarts=1)


@pytest.mark.parametrize("error", [1.1, 2, 1e12, float("inf"), float("nan"), -0.1, True, "0.1"])
def test_what_is_no_error(error):
    dense = np.eye(16)
    with pytest.raises(tnl.TNLayersError, match="error="):
        decompose(dense, "mpo", error=error)


@pytest.mark.parametrize("error", [1.1, 2, 1e12, -1])
def test_what_is_no_error_of_a_model(error):
    torch = pytest.importorskip("torch")
    with pytest.raises(tnl.TNLayersError, match="error="):
        tnl.compress(torch.nn.Sequential(torch.nn.Linear(64, 64)), error=error)


@pytest.mark.parametrize(
    "given",
    [{"restarts": 0}, {"restarts": 1.5}, {"sweeps": -1}, {"sweeps": 2.0}, {"search": -1}, {"search": float("nan")}],
)
def test_numbers_that_say_no_way_to_look(given):
    (name,) = given
    with pytest.raises(tnl.TNLayersError, match=f"{name}="):
        decompose(np.eye(16), "ring", error=0.1, **given)


@pytest.mark.parametrize("text", ["tucker(cores=4)", "ring(cores=2)", "block_term(cores=12)"])
def test_a_default_that_does_not_compress_is_told(text):
    sizes = (784, 256) if text.startswith("tucker") else (64, 64)
    with pytest.warns(tnl.TNLayersWarning, match="does not compress here: give"):
        assert tnl.spec(text, *sizes).rho >= 1
