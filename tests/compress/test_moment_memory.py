"""Second moments within a limit of memory: the smallest are kept, and a warning tells what is left out beforehand."""

from importlib import import_module

import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 24))


def test_what_memory_has_no_room_for_is_told_and_left_out(monkeypatch):
    memory = import_module("tnlayers.compress.moment_memory")
    monkeypatch.setattr(memory, "_LEAST", 8 * 8 * 50**2)
    monkeypatch.setattr(memory, "_memory", lambda: 0)
    with pytest.warns(tnl.TNLayersWarning, match=r"1 of 2 weights would take .* GiB .*\(0, with 64 inputs"):
        made = tnl.compress(model(), ratio=0.4, network="lowrank", sample=torch.randn(50, 64))
    outputs = {layer.name: layer.output_error for layer in made.report.layers}
    assert outputs["0"] is None
    assert outputs["2"] is not None


def test_with_room_every_layer_is_fitted_to_its_outputs(recwarn):
    made = tnl.compress(model(), ratio=0.4, network="lowrank", sample=torch.randn(50, 64))
    assert all(layer.output_error is not None for layer in made.report.layers if layer.network != "dense")
    assert not [one for one in recwarn if "second moments" in str(one.message)]
