"""`tnlayers describe`: the counts of models, layers and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import SPEC, Call

import tnlayers as tnl

# The paper's counts (arXiv 1904.06194): replaced weights, rho, and the whole model's weights and trainables.
COUNTS = {
    "fc2": ({"mpo": 15584, "dense": 203264}, 0.0766688, (15584, 15850), 203264),
    "lenet5": ({"mpo": 2860, "dense": 58920}, 0.0485404, (5410, 5646), 61470),
}


@pytest.mark.parametrize("model", COUNTS)
def test_describe_counts_as_the_paper_does(call: Call, model: str) -> None:
    replaced, rho, (weights, trainable), dense_weights = COUNTS[model]
    status, out, err = call("describe", model, "--network", "mpo", "--json")
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert report["replaced"] == replaced
    assert report["rho"] == pytest.approx(rho, abs=5e-8)
    assert report["total"]["mpo"] == {"weights": weights, "trainable": trainable}
    assert report["total"]["dense"]["weights"] == dense_weights
    assert sum(layer["parameters"] for layer in report["layers"]) == replaced["mpo"]


def test_describe_shows_the_same_as_a_table(call: Call) -> None:
    status, out, err = call("describe", "lenet5")
    assert (status, err) == (0, "")
    for text in ("conv3", "mpo(in=2x10x10x2, out=2x5x6x2, bias=true, bond=4)", "2,860", "58,920", "0.0485", "5,646"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80


def test_bond_is_a_shorthand_and_clipped_bonds_are_told(call: Call) -> None:
    status, out, err = call("describe", "fc2", "--bond", "64")
    assert (status, err) == (0, "")
    assert "57,856" in out  # what is built
    assert "231,424" in out  # the paper's formula
    assert "clipped from 64 to 16" in out
    long_form = call("describe", "fc2", "--network", "mpo(bond=64)", "--json")
    assert call("describe", "fc2", "--bond", "64", "--json") == long_form


def test_describe_of_a_dense_model(call: Call) -> None:
    status, out, _ = call("describe", "lenet5", "--network", "dense")
    assert status == 0
    assert "61,612" in out


def test_describe_a_layer(call: Call) -> None:
    status, out, _ = call("describe", "mpo(cores=4, bond=16)", "--in", "784", "--out", "256", "--json")
    layer = json.loads(out)
    assert status == 0
    assert layer["spec"] == SPEC
    assert [core["shape"] for core in layer["cores"]] == [[4, 4, 16], [16, 7, 4, 16], [16, 7, 4, 16], [16, 4, 4]]
    assert (layer["parameters"], layer["dense_parameters"]) == (14848, 200704)
    assert layer["rho"] == 14848 / 200704
    table = call("describe", SPEC)[1]
    assert "16x7x4x16" in table
    assert "14,848" in table


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_describe_a_file(call: Call, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"layer.{suffix}"
    made = tnl.spec(SPEC)
    file.write_text(made.to_json() if suffix == "json" else made.to_yaml())
    assert json.loads(call("describe", str(file), "--json")[1])["spec"] == SPEC
    assert json.loads(call("describe", str(file), "--bond", "2", "--json")[1])["spec"] == SPEC.replace("16", "2")


def test_list_names_models_and_networks(call: Call) -> None:
    status, out, _ = call("describe", "--list")
    assert status == 0
    for name in ("fc2", "lenet5", "mpo(bond=16)", "Matrix product operator"):
        assert name in out
    listed = json.loads(call("describe", "--list", "--json")[1])
    assert list(listed["models"])[:4] == ["fc2", "lenet5", "vgg16", "vgg19"]
    assert listed["models"]["vgg16"] == {
        "weights": 28_907_200,
        "replaces": ["conv5_1", "conv5_2", "fc1", "fc2", "fc3"],
    }
    assert listed["networks"]["mpo"]["keywords"] == {"bond": 16}
