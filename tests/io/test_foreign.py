"""Cores of other libraries give the dense weight that those libraries make of them (see tests/data/make_foreign.py)."""

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward, terms_of
from places import DATA
from safetensors.torch import load_file, save_file

import tnlayers as tnl
from tnlayers.backends import installed

MODES = {"in_modes": (4, 3, 2), "out_modes": (2, 3, 5)}
PEERS = {
    "tltorch": (tnl.io.from_tltorch, {}),
    "torchtt": (tnl.io.from_torchtt, {}),
    "torch-mpo": (tnl.io.from_torch_mpo, MODES),
    "deeplearning-mpo": (tnl.io.from_deeplearning_mpo, MODES | {"prefix": "tt_1/"}),
}


def fixture(name):
    """The library's own arrays, and what it makes of them."""
    arrays = load_file(DATA / f"foreign-{name}.safetensors")
    expected = {key: arrays.pop(f"expected.{key}").numpy() for key in ("dense", "x", "y")}
    return arrays, expected


@pytest.mark.parametrize("backend", [name for name in installed() if name != "jax"])  # jax has 64 bits only if told so
@pytest.mark.parametrize("name", PEERS)
def test_the_dense_weight_and_the_output_are_the_peers(name, backend):
    read, keywords = PEERS[name]
    arrays, expected = fixture(name)
    layer = read(arrays, backend=backend, **keywords)
    assert str(layer.spec) == "mpo(in=4x3x2, out=2x3x5, bias=true, bond=3-4)"
    dense = layer.to_dense()
    terms = terms_of(layer.spec.graph)
    assert_close(dense, expected["dense"], dtype="float64", terms=terms)
    with pytest.raises(AssertionError):  # teeth: another order of the outputs
        assert_close(dense, np.roll(expected["dense"], 1, axis=0), dtype="float64", terms=terms)
    y = layer(torch.from_numpy(expected["x"]) if backend == "torch" else expected["x"])
    cores = [np.asarray(core.detach() if backend == "torch" else core) for core in layer.cores.values()]
    bias = layer.bias.detach().numpy() if backend == "torch" else layer.bias
    assert_close(y, oracle_forward(layer.spec, cores, expected["x"], bias), dtype="float64")
    scale = oracle_forward(layer.spec, cores, expected["x"], bias).scale
    assert_close(y, expected["y"], dtype="float64", terms=terms, scale=scale)


@pytest.mark.parametrize("name", PEERS)
def test_a_file_and_a_whole_model_will_do(tmp_path, name):
    read, keywords = PEERS[name]
    arrays, _ = fixture(name)
    save_file(arrays, tmp_path / "cores")
    one = read(tmp_path / "cores", backend="numpy", **keywords)
    inner = keywords.get("prefix", "")
    model = {f"net.fc1.{key}": value for key, value in arrays.items()} | {"net.fc2.weight": torch.ones(3)}
    other = read(model, backend="numpy", **keywords | {"prefix": f"net.fc1.{inner}"})
    assert all(np.array_equal(a, b) for a, b in zip(one.cores.values(), other.cores.values(), strict=True))
    tnl.save(one, tmp_path / "ours")
    assert np.array_equal(tnl.load(tmp_path / "ours").to_dense(), one.to_dense())
    with pytest.raises(tnl.TNLayersError, match=r"give the layer's prefix="):
        read(model, **keywords)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_dtype_and_layers_without_bias(dtype):
    arrays, expected = fixture("tltorch")
    del arrays["bias"]
    layer = tnl.io.from_tltorch({key: value.to(dtype) for key, value in arrays.items()})
    assert layer.bias is None
    assert layer.core_1.dtype == dtype
    assert torch.equal(layer.core_1, arrays["weight.factors.factor_1"].to(dtype).permute(0, 2, 1, 3))
    scale = float(np.abs(expected["dense"]).max()) * 4  # the cores themselves were rounded
    terms = terms_of(layer.spec.graph)
    assert_close(layer.to_dense(), expected["dense"], dtype=str(dtype)[6:], terms=terms, scale=scale)


def test_a_single_core_and_bonds_above_their_maximum_stay_what_they_are():
    rng = np.random.default_rng(0)
    one = tnl.io.from_torchtt({"cores.0": rng.standard_normal((1, 5, 7, 1))}, backend="numpy")
    assert one.to_dense().shape == (5, 7)
    wide = {"cores.0": rng.standard_normal((1, 2, 2, 9)), "cores.1": rng.standard_normal((9, 2, 2, 1))}
    layer = tnl.io.from_torchtt(wide, backend="numpy")
    expected = np.einsum("mnr,rpq->mpnq", wide["cores.0"][0], wide["cores.1"][..., 0]).reshape(4, 4)
    assert layer.cores["core_0"].shape == (2, 2, 9)
    assert_close(layer.to_dense(), expected, dtype="float64", terms=9)


def test_what_is_no_chain_is_refused():
    core = np.ones((1, 2, 3, 4))
    for arrays, part in [
        ({}, "Found with prefix='': nothing"),
        ({"weight.factors.factor_0": core[..., 0]}, r"Core 0 .* has shape \(1, 2, 3\).*\(left, out, in, right\)"),
        ({"weight.factors.factor_0": core}, "has a right bond of 4; a chain ends with 1"),
        ({"weight.factors.factor_0": core, "weight.factors.factor_2": core}, "numbered without a gap"),
        ({"weight.factors.factor_0": core, "weight.factors.factor_1": core}, "does not fit left 4"),
        ({"weight.weights": np.ones(3), "weight.factors.factor_0": np.ones((4, 3))}, "weight.weights"),
    ]:
        with pytest.raises(tnl.TNLayersError, match=part):
            tnl.io.from_tltorch(arrays)
    arrays, _ = fixture("torch-mpo")
    with pytest.raises(tnl.TNLayersError, match=r"There are 3 cores but in_modes \(4, 6\)"):
        tnl.io.from_torch_mpo(arrays, (4, 6), (2, 15))
    with pytest.raises(tnl.TNLayersError, match=r"in_modes \(4, 3, 2\) and out_modes \(2, 3, 0\)"):
        tnl.io.from_torch_mpo(arrays, (4, 3, 2), (2, 3, 0))
    with pytest.raises(tnl.TNLayersError, match=r"Core 0 .* has shape \(2, 12\), .* left 1, in 5, out 2"):
        tnl.io.from_torch_mpo(arrays, (5, 3, 2), (2, 3, 5))
    mixed = dict(arrays) | {"bias": arrays["bias"].float()}
    with pytest.raises(tnl.TNLayersError, match="have dtypes float32, float64"):
        tnl.io.from_torch_mpo(mixed, **MODES)
