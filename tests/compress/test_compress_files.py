"""Compressions that go on where they stopped, and compressed models in files."""

from __future__ import annotations

from copy import deepcopy

import pytest
from small_models import Conv1D, mlp, same, state

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize("sampled", [False, True])
def test_the_cache_gives_the_same_without_the_work(tmp_path, monkeypatch, sampled):
    model = mlp()
    sample = torch.randn(64, next(model.parameters()).shape[1]) if sampled else None
    first = tnl.compress(model, ratio=0.2, sample=sample, cache=tmp_path)
    from tnlayers.compress import candidates
    from tnlayers.compress import observing as watch

    monkeypatch.setattr(candidates, "curve", None)  # would fail if it were called
    monkeypatch.setattr(tnl.nn.TNLinear, "from_linear", None)
    monkeypatch.setattr(watch, "_sensitivity", None)
    again = tnl.compress(model, ratio=0.2, sample=sample, cache=tmp_path)
    assert same(state(first.model), state(again.model))
    assert again.report == first.report


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    model, from_linear, called = mlp(), tnl.nn.TNLinear.from_linear, []

    def stops(dense, spec, **more):
        called.append(spec)
        if len(called) == 2:
            raise KeyboardInterrupt
        return from_linear(dense, spec, **more)

    monkeypatch.setattr(tnl.nn.TNLinear, "from_linear", stops)
    with pytest.raises(KeyboardInterrupt):
        tnl.compress(model, ratio=0.1, network="mpo", cache=tmp_path)
    again = tnl.compress(model, ratio=0.1, network="mpo", cache=tmp_path)
    assert len(called) == 3  # the layer that was finished is not made again
    monkeypatch.undo()
    whole = tnl.compress(model, ratio=0.1, network="mpo")
    assert same(state(again.model), state(whole.model))
    assert again.report == whole.report


@pytest.mark.parametrize("damage", [b"", b"{", b"[[]]", b"\xff" * 40], ids=repr)
def test_a_damaged_entry_of_the_cache_is_found_anew(tmp_path, damage):
    model = mlp()
    first = tnl.compress(model, ratio=0.1, cache=tmp_path)
    entries = sorted(tmp_path.iterdir())
    assert {entry.suffix for entry in entries} == {".json", ".safetensors"}
    whole = {entry: entry.read_bytes() for entry in entries}
    for entry in entries:
        entry.write_bytes(damage)
    again = tnl.compress(model, ratio=0.1, cache=tmp_path)
    assert same(state(first.model), state(again.model))
    assert again.report == first.report
    assert {entry: entry.read_bytes() for entry in sorted(tmp_path.iterdir())} == whole


def test_saved_and_loaded(tmp_path):
    model = nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 200), nn.ReLU(), nn.Linear(200, 100))
    made = tnl.compress(model, ratio=0.3).model
    tnl.save(made, tmp_path / "small.safetensors")
    loaded = tnl.load(tmp_path / "small.safetensors", into=deepcopy(model))
    assert same(state(made), state(loaded))
    ids = torch.arange(100)
    assert torch.equal(made(ids), loaded(ids))


def test_the_networks_of_transposed_layers_are_loaded_in_their_place(tmp_path):
    model = nn.Sequential(Conv1D(64, 48), nn.ReLU(), Conv1D(48, 64))
    made = tnl.compress(model, max_params=3024, network="lowrank").model
    tnl.save(made, tmp_path / "turned.safetensors")
    loaded = tnl.load(tmp_path / "turned.safetensors", into=deepcopy(model))
    x = torch.randn(3, 48)
    assert torch.equal(made(x), loaded(x))
    assert (made[0].nf, loaded[0].nf) == (64, 64)
    with pytest.raises(tnl.TNLayersError, match=r"= \(48, 64\), but the module there has \(64, 48\)"):
        tnl.load(tmp_path / "turned.safetensors", into=nn.Sequential(Conv1D(48, 64), nn.ReLU(), Conv1D(64, 48)))
