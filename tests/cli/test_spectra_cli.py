"""`tnlayers spectra`: numbers as `tnl.spectra` has them, for factories, saved models and state dicts."""

from __future__ import annotations

import json

import pytest

import tnlayers as tnl
from tnlayers.cli import completion

torch = pytest.importorskip("torch")
nn = torch.nn

FACTORY = """
import torch
import tnlayers as tnl

def make():
    torch.manual_seed(0)
    return torch.nn.ModuleDict({
        "attention": torch.nn.MultiheadAttention(16, 2),
        "conv": torch.nn.Conv2d(4, 8, 3),
        "ring": tnl.nn.TNLinear(16, 16, network="ring(cores=3, bond=2)", seed=0),
        "small": tnl.nn.MPOLinear(64, 36, bond_dim=3, cores=3, seed=0),
        "last": torch.nn.Linear(16, 1),
    })
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine_to_look_at.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_every_layer_and_its_picture(call, folder):
    words = ("mine_to_look_at:make", "--network", "mpo(cores=2)", "--error", "0.2")
    code, out, err = call("spectra", *words, "-o", "seen.svg", "--json")
    assert (code, err) == (0, "")
    data = {one["layer"]: one for one in json.loads(out)}
    projections = {f"attention.{name}_proj" for name in ("q", "k", "v", "out")}
    assert set(data) == {*projections, "conv", "ring", "small", "last"}
    own = tnl.nn.MPOLinear(64, 36, bond_dim=3, cores=3, seed=0).spectra()
    assert [bond["values"] for bond in data["small"]["bonds"]] == [list(bond.values) for bond in own.bonds]
    assert [bond["entropy"] for bond in data["small"]["bonds"]] == list(own.entropies)
    assert tuple(bond["advice"] for bond in data["small"]["bonds"]) == own.advice(0.2)
    assert tuple(bond["standing_out"] for bond in data["small"]["bonds"]) == own.standing_out() == (3, 3)
    assert "ring: a 16x16 weight cut by mpo" in (folder / "seen.svg").read_text()
    code, table, _ = call("spectra", *words)
    assert max(map(len, table.splitlines())) <= 80
    assert "attention.q_proj" in table
    code, table, _ = call("spectra", *words, "--layer", "atten*.q*", "--layer", "last")
    assert "conv" not in table
    assert "attention.q_proj" in table


def test_files(call):
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    safetensors = pytest.importorskip("safetensors.torch", reason="writes the file that is read")
    safetensors.save_file(model.state_dict(), "plain.safetensors")
    code, out, err = call("spectra", "plain.safetensors", "--network", "lowrank", "--json")
    assert (code, err) == (0, "")
    values = json.loads(out)[0]["bonds"][0]["values"]
    assert values == pytest.approx(torch.linalg.svdvals(model[0].weight.detach().double()).tolist())
    tnl.save(tnl.models.build("fc2", network="mpo"), "fc2.safetensors")
    assert call("spectra", "fc2.safetensors", "--layer", "fc1")[0] == 0
    assert completion.trained("pl") == ["plain.safetensors"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "neither a .safetensors file nor module:function"),
        (["mine_to_look_at:make", "--layer", "absent"], "No layer's name matches 'absent'"),
        (["mine_to_look_at:make", "--network", "ring"], "form a loop"),
        (["mine_to_look_at:make", "--error", "2"], "error=2"),
    ],
)
def test_refusals(call, words, message):
    code, out, err = call("spectra", *words)
    assert (code, out) == (2 if words == ["nothing"] else 1, "")
    assert message in " ".join(err.split())
