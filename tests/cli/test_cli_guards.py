"""Refusals of commands that no other file of tests raises: options that exclude each other, files of other content."""

import io
import json

import numpy as np
import pytest
from absent import framework
from command import SPEC

import tnlayers as tnl

torch = framework("torch")

MINE = """
import torch

number = lambda: 3

def make():
    return torch.nn.Sequential(torch.nn.Linear(6, 4))
"""
COMPRESS = ["compress", "given_to_commands:make", "--ratio", "0.5"]


def bytes_of(*arrays, save=np.save):
    buffer = io.BytesIO()
    save(buffer, *arrays)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "given_to_commands.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_a_line(text):
    """Without the lines and the frame that a narrow terminal has."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "--quick", "--random", "3"], "leave one of the two"),
        (["bench", "--seed", "3"], "--seed is of a draw: it goes with --random N"),
        (["describe", "fc2", "--list"], "Give either a model or a layer, such as fc2, or --list"),
        (["describe", SPEC, "--network", "mpo"], "--network is for models"),
        (["describe", "fc2", "--in", "784", "--out", "256"], "--in and --out are for a layer; 'fc2' would be a model"),
        (["describe", "fc2", "--network", "dense", "--bond", "4"], "--network dense has none"),
        (["describe", "fc3"], "Nor is it a network type"),
        (["plan", "mpo(cores=2)", "--in", "16"], "--in and --out go together"),
        (["reproduce", "fig4", "--dry-run"], "'fig4' is none of all"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_wrong_call_has_status_2(call, folder, words, message):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert message in in_a_line(err)
    assert [path.name for path in folder.iterdir()] == ["given_to_commands.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "spec.json"], "spec.json: "),
        (["describe", SPEC, "--load", "spec.json"], "--load spec.json: there is no such Python file"),
        (["describe", SPEC, "--load", "refused.py"], "--load refused.py: The function of network type"),
        (["describe", SPEC, "--load", "fails.py"], "--load fails.py failed: ZeroDivisionError"),
        (["spectra", "given_to_commands:number"], "given_to_commands:number gives a int, not a torch module"),
        (["spectra", "layer.safetensors"], "layer.safetensors holds a NumpyLinear, not a torch model"),
        ([*COMPRESS, "--report", "absent/out.html"], "--report absent/out.html: the folder absent does not exist"),
        ([*COMPRESS, "--rules", "spec.json"], "spec.json must hold lines such as `'fc*': mpo(cores=3)`"),
        ([*COMPRESS, "--rules", "bad.yaml"], "bad.yaml is not valid YAML"),
        (["reproduce", "fig2", "--model", "vgg99", "--dry-run"], "fig2 has no row of model='vgg99'"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_other_failures_have_status_1(call, folder, words, message):
    (folder / "spec.json").write_text("[1, 2]")
    (folder / "bad.yaml").write_text("'0': [")
    (folder / "refused.py").write_text("import tnlayers\n\n@tnlayers.network('mine')\ndef f(): ...\n")
    (folder / "fails.py").write_text("1 / 0\n")
    tnl.save(tnl.build("mpo(in=4x4, out=2x3, bond=2)", backend="numpy", seed=0), folder / "layer.safetensors")
    code, _, err = call(*words)
    assert code == 1
    assert message in in_a_line(err)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not numbers",
        bytes_of(np.zeros((3, 6)))[:-8],
        bytes_of(np.zeros((3, 6)), save=np.savez),
        bytes_of(np.array(["a", "b"])),
        bytes_of(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])),
        b"PK\x03\x04" + bytes(60),
    ],
    ids=["empty", "text", "cut off", "npz", "texts", "records", "damaged zip"],
)
def test_a_sample_of_something_else_is_refused(call, folder, content):
    (folder / "sample.npy").write_bytes(content)
    code, _, err = call(*COMPRESS, "--sample", "sample.npy", "--json")
    assert code == 1
    assert "--sample sample.npy is no .npy file of numbers" in err


def test_a_difference_above_the_tolerance_has_status_1(call, monkeypatch):
    from tnlayers.verify import agreement

    code, out, _ = call("check", SPEC, "--backend", "numpy", "--json")
    assert (code, json.loads(out)["good"]) == (0, True)
    monkeypatch.setattr(agreement.Difference, "good", property(lambda self: False))
    code, out, _ = call("check", SPEC, "--backend", "numpy")
    assert code == 1
    assert "OFF: differences above 1 are no rounding." in out
