"""Files of older formats go on loading: these files stay as they are, whatever the library becomes."""

import pytest
import torch
from oracle import assert_close, terms_of
from places import DATA
from safetensors.torch import load_file, save_file

import tnlayers as tnl
from tnlayers.io.header import VERSION
from tnlayers.io.upgrade import UPGRADES


def test_every_older_format_has_an_upgrade_and_a_file():
    assert list(UPGRADES) == list(range(VERSION))
    for version in UPGRADES:
        assert (DATA / f"format-{version}.safetensors").is_file()


def test_format_0_loads_as_the_model_that_was_trained():
    """Written by `tnlayers train` before `tnl.save`; the logits by the float64 model of that day."""
    path = DATA / "format-0.safetensors"
    header = tnl.io.header(path)
    assert (header.model, header.info) == ("fc2", {"network": "mpo(bond=2)", "seed": "11", "epochs": "0"})
    assert [layer.paths for layer in header.layers] == [("fc1",), ("fc2",)]
    model = tnl.load(path)
    for name, tensor in load_file(path).items():
        assert torch.equal(model.state_dict()[name], tensor)
    expected = load_file(DATA / "format-0-expected.safetensors")["logits"].numpy()
    images = torch.linspace(-1, 1, 2 * 784).reshape(2, 1, 28, 28)
    terms = sum(terms_of(layer.spec.graph) for layer in header.layers)
    assert_close(model(images), expected, dtype="float32", terms=terms)
    with torch.no_grad():
        model.fc1.core_0[0, 0, 0] += 0.01
    with pytest.raises(AssertionError):  # teeth
        assert_close(model(images), expected, dtype="float32", terms=terms)


def test_an_upgraded_file_saved_again_is_of_the_present_format(tmp_path):
    model = tnl.load(DATA / "format-0.safetensors")
    tnl.save(model, tmp_path / "new")
    twin = tnl.load(tmp_path / "new")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert tnl.io.header(tmp_path / "new").library == tnl.__version__


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"model": "fc3"}, "There is no model 'fc3'"),
        ({"model": "lenet5"}, r"'conv3\.core_0' is missing"),
        ({"network": "nowhere(bond=2)"}, "There is no network type 'nowhere'"),
        ({"network": "mpo(bond=3)"}, r"'fc1\.core_0' has shape \(4, 4, 2\), but its network says \(4, 4, 3\)"),
        ({"network": None}, "names no model and no network"),
    ],
)
def test_a_file_of_format_0_that_does_not_fit_is_refused(tmp_path, change, part):
    old = DATA / "format-0.safetensors"
    header = {"format": "tnlayers-state-dict-1", "model": "fc2", "network": "mpo(bond=2)", "seed": "1", "epochs": "2"}
    header = {key: value for key, value in (header | change).items() if value is not None}
    save_file(load_file(old), tmp_path / "old", metadata=header)
    with pytest.raises(tnl.TNLayersError, match=part):
        tnl.load(tmp_path / "old")
