"""`tnlayers compress`: from a factory, a saved model and a state dict."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn

FACTORY = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(120, 160), torch.nn.ReLU(), torch.nn.Linear(160, 40))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine_to_compress.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(120, 160), nn.ReLU(), nn.Linear(160, 40))


def test_a_factory_with_sample_rules_and_report(call, folder):
    np.save("data.npy", np.random.default_rng(0).standard_normal((300, 120)))
    (folder / "rules.yaml").write_text('"0": lowrank\n"2": null\n')
    words = ["mine_to_compress:make", "--ratio", "0.5", "--sample", "data.npy", "--rules", "rules.yaml"]
    code, out, err = call("compress", *words, "--report", "out.html", "--out", "small.safetensors", "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["ratio"] <= 0.5
    assert data["layers"][0]["output_error"] is not None
    assert (folder / "out.html").read_text().startswith("<!doctype html>")
    small = tnl.load("small.safetensors", into=model())
    assert isinstance(small[0], tnl.nn.TNLinear)
    assert sum(p.numel() for p in small.parameters()) == data["after"]["parameters"]


def test_a_plain_state_dict(call, folder):
    safetensors = pytest.importorskip("safetensors.torch", reason="writes the file that is read")
    safetensors.save_file(model().state_dict(), "plain.safetensors")
    code, out, err = call(
        "compress", "plain.safetensors", "--ratio", "0.5", "--network", "lowrank", "--out", "small.safetensors"
    )
    assert code == 0, err
    assert "asked ratio=0.5" in out
    assert isinstance(tnl.load("small.safetensors", into=model())[0], tnl.nn.TNLinear)
    np.save("data.npy", np.zeros((3, 120)))
    # Without --out, what it would be is measured.
    code, out, err = call("compress", "plain.safetensors", "--ratio", "0.5", "--report", "out.html")
    assert code == 0, err
    assert "became" in out
    code, _, err = call("compress", "plain.safetensors", "--ratio", "0.5", "--sample", "data.npy")
    assert code == 1
    assert "cannot run" in err


def test_a_model_of_tnlayers(call):
    tnl.save(tnl.models.build("lenet5", network="dense"), "lenet5.safetensors")
    code, out, err = call("compress", "lenet5.safetensors", "--ratio", "0.5", "--dry-run")
    assert code == 0, err
    assert "would become" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "--ratio", "0.5"], "neither a .safetensors file nor module:function"),
        (["mine_to_compress:absent", "--ratio", "0.5"], "has no attribute 'absent'"),
        (["mine_to_compress:make"], "exactly one of ratio"),
        (["absent.safetensors", "--ratio", "0.5"], "no such file"),
        (["mine_to_compress:make", "--ratio", "0.5", "--rules", "absent.yaml"], "--rules absent.yaml"),
    ],
)
def test_refusals(call, words, message):
    code, _, err = call("compress", *words)
    assert code == (2 if words[0] == "nothing" else 1)
    assert message in err
