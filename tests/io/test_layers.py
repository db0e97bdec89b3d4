"""A layer saved anywhere loads everywhere, without the code that declared it, bit for bit."""

import json
from itertools import cycle

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward, terms_of
from specs import MARKET, market
from torch import nn

import tnlayers as tnl
from tnlayers.backends import installed
from tnlayers.io.container import read

SPECS = market() | {
    "sum": tnl.spec("mpo(in=4x3, out=3x2, bond=2) + mpo(in=2x3x2, out=3x2x1, bond=2)"),
    "sum-bias": tnl.spec("ladder(in=2x3x2, out=2x2x3, bond=2, bias=true) + ring(in=2x3x2, out=2x2x3, bond=2)"),
}

# On jax every operation of another shape is compiled: there the numbers of all rows are compared, the outputs of these.
RUN_ON_JAX = ("mpo-padded", "ladder", "monarch", "sum-bias")

LOAD_ALL = """
import sys
from pathlib import Path
import numpy as np, tnlayers as tnl
from tnlayers.declare.registry import network_types

folder = Path(sys.argv[1])
assert "ladder" not in {kind.name for kind in network_types()}
found = {}
for file in sorted(folder.glob("*.safetensors")):
    x = np.load(folder / f"{file.stem}.npy")
    for backend in sys.argv[2:]:
        layer = tnl.load(file, backend=backend)
        assert layer.spec.rho > 0 and str(layer.spec) in repr(layer), repr(layer)
        if backend == "torch":
            import torch
            found[f"{file.stem}.{backend}"] = layer(torch.from_numpy(x)).detach().numpy()
        elif backend == "numpy" or file.stem in RUN_ON_JAX:
            found[f"{file.stem}.{backend}"] = np.asarray(layer(x))
        for name, core in layer.cores.items():
            found[f"{file.stem}.{backend}.{name}"] = np.asarray(core.detach() if backend == "torch" else core)
np.savez(folder / "found.npz", **found)
"""


def test_saved_on_one_backend_loads_on_every_other_without_the_declaring_code(tmp_path, fresh, arrays):
    """The backends take turns in writing; every backend reads every file."""
    rng = np.random.default_rng(0)
    inputs, layers = {}, {}
    for (name, spec), writer in zip(SPECS.items(), cycle(installed()), strict=False):
        inputs[name] = rng.standard_normal((3, spec.in_features)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", inputs[name])
        layers[name] = tnl.build(spec, backend=writer, seed=1)
        tnl.save(layers[name], tmp_path / f"{name}.safetensors")
    fresh(f"RUN_ON_JAX = {RUN_ON_JAX}\n{LOAD_ALL}", tmp_path, *installed())
    with np.load(tmp_path / "found.npz") as found:
        for name, layer in layers.items():
            own = arrays(layer)
            cores = [core.astype(np.float64) for key, core in own.items() if key != "bias"]
            expected = oracle_forward(layer.spec, cores, inputs[name], own.get("bias"))
            for reader in installed():
                for key in layer.cores:
                    loaded = found[f"{name}.{reader}.{key}"]
                    assert loaded.dtype == own[key].dtype
                    assert loaded.tobytes() == own[key].tobytes(), (name, reader, key)
                if reader != "jax" or name in RUN_ON_JAX:
                    y = found[f"{name}.{reader}"]
                    assert_close(y, expected, dtype="float32")
                    with pytest.raises(AssertionError):  # teeth
                        assert_close(y + 0.01 * expected.scale, expected, dtype="float32")


def test_reading_on_numpy_needs_no_framework(tmp_path, fresh):
    tnl.save(tnl.build("ladder(in=2x3x2, out=2x2x3, bond=2, bias=true)", backend="torch", seed=0), tmp_path / "layer")
    code = """
import sys
sys.modules["torch"] = sys.modules["jax"] = None  # as if they were not installed
import numpy as np, tnlayers as tnl
layer = tnl.load(sys.argv[1], backend="numpy")
assert layer(np.ones((3, 12), np.float32)).shape == (3, 12)
tnl.save(layer, sys.argv[1])
assert "tensornetwork" not in sys.modules  # nothing is declared
try:
    tnl.load(sys.argv[1], backend="torch")
except tnl.TNLayersError as error:
    print(error)
"""
    assert "Backend 'torch' is not installed" in fresh(code, tmp_path / "layer")


@pytest.mark.parametrize("name", ["mpo-bias", "ladder", "sum-bias"])
def test_every_backend_writes_the_same(tmp_path, name):
    """The files differ in the backend's name and hence in the digest, and in nothing else."""
    found = set()
    for backend in installed():
        tnl.save(tnl.build(SPECS[name], backend=backend, seed=1), tmp_path / backend)
        metadata, stored = read(tmp_path / backend)
        text = metadata["tnlayers"].replace(f'"backend": "{backend}"', "")
        found.add((text, *((key, array.dtype, array.shape, bytes(array.data)) for key, array in stored.items())))
    assert len(found) == 1


@pytest.mark.parametrize("backend", installed())
def test_a_loaded_layer_is_the_saved_one(tmp_path, arrays, assert_same, backend):
    path = tmp_path / "layer.safetensors"
    layer = tnl.build(MARKET["triangle"], backend=backend, seed=3)
    tnl.save(layer, path)
    twin = tnl.load(path)
    assert type(twin) is type(layer)
    assert twin.spec == layer.spec
    assert twin.spec.lowered == layer.spec.graphs
    assert_same(arrays(twin), arrays(layer))
    again = tmp_path / "again.safetensors"
    tnl.save(twin, again)
    assert again.read_bytes() == path.read_bytes()
    tnl.save(tnl.build(MARKET["triangle"], backend=backend, seed=4), again)
    assert again.read_bytes() != path.read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "complex64", "complex128"])
def test_every_dtype_keeps_its_bits(tmp_path, dtype):
    path = tmp_path / "layer.safetensors"
    layer = tnl.build(MARKET["mpo-bias"], dtype=dtype, seed=0)
    with torch.no_grad():
        layer.core_0.mul_(1 + 2j if layer.core_0.is_complex() else -1)
    tnl.save(layer, path)
    twin = tnl.load(path)
    for name, core in layer.state_dict().items():
        assert twin.state_dict()[name].dtype == core.dtype
        assert torch.equal(twin.state_dict()[name], core)
    if dtype == "bfloat16":
        with pytest.raises(tnl.TNLayersError, match=r"numpy has no dtype 'bfloat16'.*layer\.float\(\)"):
            tnl.load(path, backend="numpy")
        tnl.save(twin.float(), path)
        assert tnl.load(path, backend="numpy").cores["core_0"].dtype == np.float32
    else:
        found = tnl.load(path, backend="numpy").cores
        assert all(np.array_equal(found[name], core.detach().numpy()) for name, core in layer.cores.items())


def test_a_loaded_layer_trains(tmp_path):
    path = tmp_path / "layer.safetensors"
    tnl.save(tnl.build(MARKET["cp"], seed=0), path)
    layer = tnl.load(path)
    layer(torch.ones(2, layer.in_features)).sum().backward()
    assert all(core.requires_grad and core.grad is not None for core in layer.cores.values())


def test_a_loaded_spec_says_what_it_is_and_changes_only_where_its_type_is_declared(tmp_path):
    path = tmp_path / "layer.safetensors"
    tnl.save(tnl.build(MARKET["mpo-3"], seed=0), path)
    spec = tnl.load(path).spec
    assert tnl.spec(spec) is spec
    assert tnl.spec(spec, bond_dim=2) == tnl.spec(MARKET["mpo-3"], bond_dim=2)
    assert tnl.spec(spec, bond_dim=2).lowered == ()
    assert tnl.build(spec, backend="numpy").spec is spec


def test_plans_of_a_loaded_layer_are_those_of_the_saved_one(tmp_path):
    path = tmp_path / "layer.safetensors"
    layer = tnl.build(MARKET["ladder"], seed=0)
    tnl.save(layer, path)
    assert tnl.load(path).plan_for(64) == layer.plan_for(64)
    assert tnl.plan(tnl.load(path).spec, 64) == tnl.plan(layer.spec, 64)


def test_what_the_file_says_is_plain(tmp_path):
    """Everything that another program needs is in the header, under the names that docs/files.md gives."""
    path = tmp_path / "layer.safetensors"
    tnl.save(tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0), path, info={"by": "me"})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    header = json.loads(metadata["tnlayers"])
    assert header["format"] == "tnlayers format 1"
    assert (header["library"], header["object"], header["backend"]) == (tnl.__version__, "layer", "numpy")
    (layer,) = header["layers"]
    assert layer["spec"] == {"network": "mpo", "in_modes": [4, 7], "out_modes": [2, 5], "bond_dim": 3}
    assert layer["graphs"][0]["cores"] == [["core_0", [0, 1, 2]], ["core_1", [2, 3, 4]]]
    assert layer["dtype"] == "float32"
    assert tnl.io.header(path).info == {"by": "me"}


def test_numbers_that_are_not_finite_come_back_as_they_were(tmp_path):
    path = tmp_path / "layer.safetensors"
    layer = tnl.build(MARKET["mpo-2"], backend="numpy", seed=0)
    layer.cores["core_0"][0, 0, 0] = np.nan
    layer.cores["core_0"][0, 0, 1] = -np.inf
    tnl.save(layer, path)
    assert tnl.load(path, backend="torch").core_0.detach().numpy().tobytes() == layer.cores["core_0"].tobytes()


def test_weights_of_a_loaded_layer_are_close_to_the_oracle(tmp_path):
    path = tmp_path / "layer.safetensors"
    layer = tnl.build(MARKET["monarch"], backend="numpy", seed=0)
    tnl.save(layer, path)
    terms = terms_of(layer.spec.graph)
    assert_close(tnl.load(path, backend="torch").to_dense(), layer.to_dense(), dtype="float32", terms=terms)


@pytest.mark.parametrize("thing", [None, 3, {"a": 1}, np.ones(3), torch.ones(3), tnl.spec("mpo(in=4, out=4)")])
def test_what_is_no_layer_is_not_saved(tmp_path, thing):
    with pytest.raises(tnl.TNLayersError, match="Give a layer of"):
        tnl.save(thing, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_layers_that_a_file_could_not_bring_back_are_refused(tmp_path):
    class Mine(tnl.nn.TNLinear):
        def forward(self, x):
            return 2 * super().forward(x)

    layer = Mine(12, 10, network="mpo(cores=2)")
    for thing in (layer, nn.Sequential(layer)):
        with pytest.raises(tnl.TNLayersError, match=r"Mine is no layer that tnlayers could put together again"):
            tnl.save(thing, tmp_path / "x")
    with torch.device("meta"):
        empty = tnl.nn.TNLinear(12, 10, network="mpo(cores=2)")
    with pytest.raises(tnl.TNLayersError, match=r"on meta .* cannot be saved"):
        tnl.save(empty, tmp_path / "x")
    mixed = tnl.nn.TNLinear(12, 10, network="mpo(cores=2)")
    mixed.core_1.data = mixed.core_1.data.double()
    with pytest.raises(tnl.TNLayersError, match="different dtypes: float32, float64"):
        tnl.save(mixed, tmp_path / "x")

    class Extra(nn.Module):
        def get_extra_state(self):
            return {"epoch": 3}

    with pytest.raises(tnl.TNLayersError, match=r"'_extra_state' .* is a dict, not a tensor"):
        tnl.save(Extra(), tmp_path / "x")
    assert not list(tmp_path.iterdir())
