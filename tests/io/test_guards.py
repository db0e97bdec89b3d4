"""Refusals of saving and loading that no other file of tests raises, each with what is wrong and where."""

import json
import struct
import warnings

import numpy as np
import pytest
from absent import framework

import tnlayers as tnl
from tnlayers.io.container import read, write

torch = framework("torch")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The file of a model with one layer of cores and one dense layer."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    layer = tnl.nn.TNLinear(8, 8, network="mpo(bond=2)", seed=0)
    tnl.save(torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Linear(8, 3)), path)
    return path


def renamed(old, new):
    """A change of the form: a part, and the step that calls it, by another name."""

    def change(header):
        form = header["form"]
        form["parts"] = [[new if name == old else name, part] for name, part in form["parts"]]
        for step in form["fields"]["steps"]:
            step["args"] = [new if arg == old else arg for arg in step["args"]]

    return change


FORGED = {
    "a layer elsewhere": (renamed("0", "9"), "describes a layer at '9', of which it has no network"),
    "a dense layer elsewhere": (renamed("2", "7"), r"it describes '7\.(bias|weight)', which it does not hold"),
    "complex": (lambda header: header.update(complex=["0.bias"]), r"'0\.bias' is said to be complex"),
    "complex and absent": (lambda header: header.update(complex=["0.core_9"]), r"'0\.core_9' is said to be complex"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_form_that_lies(saved, tmp_path, name):
    change, words = FORGED[name]
    assert tnl.load(saved, backend="numpy")(np.ones((2, 8), np.float32)).shape == (2, 3)
    metadata, arrays = read(saved)
    header = json.loads(metadata["tnlayers"])
    change(header)
    path = tmp_path / "forged.safetensors"
    write(path, json.dumps(header), arrays)
    with pytest.raises(tnl.TNLayersError, match=words):
        tnl.load(path, backend="numpy")


@pytest.mark.parametrize("info", [{"epochs": 3}, {3: "epochs"}, {"epochs": None}, 3, ["a"], "a"])
def test_info_is_texts(tmp_path, info):
    layer = tnl.build("mpo(in=2x2, out=2x2, bond=2)", backend="numpy")
    with pytest.raises(tnl.TNLayersError, match=r"info holds texts by name, got .*str\(number\)"):
        tnl.save(layer, tmp_path / "a.safetensors", info=info)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("thing", [3, None, "mpo", np.ones(3), [torch.nn.Linear(2, 2)]], ids=type)
def test_what_is_no_layer_is_not_saved(tmp_path, thing):
    with pytest.raises(tnl.TNLayersError, match="Cannot save it: "):
        tnl.save(thing, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_is_not_known(tmp_path):
    header = json.dumps({"w": {"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(tnl.TNLayersError, match=r"'w' has dtype 'F9'; known are .*F32"):
        tnl.load(path)


def test_an_aliased_mapping_inside_itself_is_refused():
    from tnlayers.files.documents import UnreadableText, load_yaml

    with pytest.raises(UnreadableText, match=r"an alias refers to something that it is part of itself \(line 1"):
        load_yaml("a: &a [*a]")
    with warnings.catch_warnings(), pytest.raises(UnreadableText, match=r"the key 'a' is twice in one mapping"):
        load_yaml("a: 1\na: 2")
