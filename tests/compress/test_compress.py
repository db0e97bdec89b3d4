"""Whole models: every kind of layer, the model stays the user's, and the report tells what is there."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from small_models import Net, count, mlp, same, state

import tnlayers as tnl
from tnlayers.compress.layer_report import HEADINGS
from tnlayers.compress.rules import rules_for

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_every_kind_of_layer(net):
    before, ids = state(net), torch.randint(0, 200, (6, 5), generator=torch.Generator().manual_seed(1))
    small = tnl.compress(net, ratio=0.6, network="mpo(cores=2)", sample=ids)
    assert same(before, state(net))
    assert type(small.model) is Net
    kinds = {layer.name: layer.network for layer in small.report.layers}
    assert {
        "table",
        "attention.q_proj",
        "attention.out_proj",
        "turned",
        "conv",
        "cell.ih",
        "lstm.hh_l0",
        "head",
    } < kinds.keys()
    assert count(small.model) <= 0.6 * count(net)
    assert small.report.after.parameters == count(small.model)
    assert small.model(ids).shape == (6, 200)


def test_networks_stand_where_their_weights_stood(net):
    """The model computes what the dense model does with the weights that its networks stand for."""
    ids = torch.randint(0, 200, (6, 5), generator=torch.Generator().manual_seed(1))
    net = deepcopy(net).double()
    rules = {"*": {"network": "mpo(cores=2)", "bond_dim": 2}, "turned": {"network": "lowrank", "bond_dim": 3}}
    made = tnl.compress(net, ratio=0.9, rules=rules).model
    assert all(isinstance(getattr(made.attention, f"{part}_proj"), tnl.nn.TNLinear) for part in ("q", "k", "v", "out"))
    assert isinstance(made.cell.ih, tnl.nn.TNLinear)
    dense = deepcopy(net)
    dense.table = made.table.to_embedding()
    dense.attention = made.attention.to_attention()
    dense.cell = made.cell.to_cell()
    dense.conv = made.conv.to_conv()
    dense.head = made.head.to_linear()
    with torch.no_grad():
        dense.turned.weight.copy_(made.turned.to_dense().mT)
        torch.testing.assert_close(made(ids), dense(ids), rtol=1e-10, atol=1e-10)
        assert (made(ids) - net(ids)).abs().max() > 1e-3  # teeth


def test_hooks_modes_and_dtype_are_kept():
    model = mlp().double()
    model[0].weight.requires_grad_(False)
    calls = []
    model[0].register_forward_hook(lambda module, args, y: calls.append(type(module).__name__))
    model.train()
    model[2].eval()
    made = tnl.compress(model, ratio=0.3).model
    made(torch.zeros(2, 300, dtype=torch.float64))
    assert calls == ["TNLinear"]
    assert not any(core.requires_grad for core in made[0].cores.values())
    assert made[0].bias.requires_grad
    assert made[0].training
    assert not made[2].training
    assert {p.dtype for p in made.parameters()} == {torch.float64}


def test_a_module_at_two_places_stays_one():
    shared = nn.Linear(64, 64)
    made = tnl.compress(nn.Sequential(shared, nn.ReLU(), shared), ratio=0.51, network="lowrank").model
    assert made[0] is made[2]
    assert isinstance(made[0], tnl.nn.TNLinear)


def test_in_place_all_or_nothing():
    model = mlp()
    before = state(model)
    with pytest.raises(tnl.TNLayersError, match="more"):
        tnl.compress(model, ratio=0.001, inplace=True)
    assert same(before, state(model))
    result = tnl.compress(model, ratio=0.4, inplace=True)
    assert result.model is model
    assert isinstance(model[0], tnl.nn.TNLinear)


def test_a_dry_run_tells_the_same_and_builds_nothing():
    model = mlp()
    dry, real = tnl.compress(model, ratio=0.2, dry_run=True), tnl.compress(model, ratio=0.2)
    assert dry.model is None
    assert dry.report.after == real.report.after
    for message, done in zip(dry.report.layers, real.report.layers, strict=True):
        assert done.error <= message.error + 1e-9  # the bound from singular values


def test_a_sample_lowers_the_error_of_the_outputs():
    model = mlp()
    torch.manual_seed(1)
    x = torch.randn(600, 300) @ torch.diag(torch.linspace(1, 0.01, 300))
    plain = tnl.compress(model, ratio=0.3, network="lowrank").model
    aware = tnl.compress(model, ratio=0.3, network="lowrank", sample=x)
    assert all(layer.output_error is not None for layer in aware.report.layers if layer.network != "dense")
    with torch.no_grad():
        wrong = [float((made(x) - model(x)).square().mean()) for made in (plain, aware.model)]
    assert wrong[1] < 0.8 * wrong[0]


def test_a_sample_leaves_statistics_alone():
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 64)).train()
    before = state(model)
    made = tnl.compress(model, ratio=0.5, sample=torch.randn(50, 64)).model
    assert same(before, state(model))
    assert model.training
    assert made[1].training
    with pytest.raises(tnl.TNLayersError, match="does not run on the sample"):
        tnl.compress(model, ratio=0.5, sample=torch.randn(50, 65))


def test_rules():
    model = mlp()
    rules = {"*": "mpo(cores=2)", "2": {"network": "lowrank", "max_params": 3000}, "4": None}
    result = tnl.compress(model, ratio=0.3, rules=rules)
    assert result.model[0].spec.network == "mpo"
    assert result.model[2].spec.network == "lowrank"
    assert result.model[2].spec.parameters <= 3000
    assert type(result.model[4]) is nn.Linear
    with pytest.raises(tnl.TNLayersError, match=r"matches none of the 2 layers.*near are fc"):
        rules_for([["fc1"], ["fc2"]], ["mpo"], {"fx1": None})
    with pytest.raises(tnl.TNLayersError, match="at most one of"):
        rules_for([["fc1"]], ["mpo"], {"fc1": {"ratio": 0.1, "error": 0.1}})


def on_meta():
    with torch.device("meta"):
        return mlp()


@pytest.mark.parametrize(
    ("make", "asked", "message"),
    [
        (mlp, {"ratio": 1.7}, r"ratio=1\.7 is more than the whole model"),
        (mlp, {"ratio": 0}, "leaves 0 parameters for the weights"),
        (mlp, {"ratio": "0.2"}, "must be a number"),
        (on_meta, {"ratio": 0.5}, "on the meta device, without values"),
        (lambda: mlp().to(torch.float8_e4m3fn), {"ratio": 0.5}, "kept in 8 bits"),
        (mlp, {"ratio": 0.5, "rules": ["0"]}, r"rules=\['0'\] must be a mapping"),
        (mlp, {"ratio": 0.5, "sample": []}, "has no batches"),
        (mlp, {"ratio": 0.5, "sample": torch.zeros(2, 7)}, r"does not run on the sample.*\(2, 7\)"),
        (mlp, {"ratio": 0.5, "sample": torch.full((2, 300), torch.nan)}, "outputs of the model on the sample are NaN"),
        (lambda: tnl.compress(mlp(), ratio=0.2).model, {"ratio": 0.01}, "networks already stay as they are"),
    ],
)
def test_wrong_inputs_are_refused_in_words(make, asked, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        tnl.compress(make(), **asked)


def test_inputs_that_are_always_zero_leave_the_weights_own_error():
    model = mlp()
    dark = tnl.compress(model, ratio=0.2, sample=torch.zeros(4, model[0].in_features))
    assert dark.report.layers[0].output_error is None
    assert dark.report.ratio <= 0.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays(dtype):
    model = mlp().to(dtype)
    made = tnl.compress(model, ratio=0.2, sample=torch.randn(32, model[0].in_features).to(dtype))
    assert {parameter.dtype for parameter in made.model.parameters()} == {dtype}
    assert made.report.after.bytes == 2 * made.report.after.parameters


def test_a_broken_weight_is_refused():
    model = mlp()
    with torch.no_grad():
        model[0].weight[3, 4] = float("nan")
    with pytest.raises(tnl.TNLayersError, match="1 of the 96000 entries of 0 are NaN"):
        tnl.compress(model, ratio=0.5)


def test_the_report_as_text_json_and_html():
    report = tnl.compress(mlp(), ratio=0.2, batch=4).report
    text, data, page = str(report), json.loads(report.to_json()), report.to_html()
    assert "asked ratio=0.2" in text
    assert "predicted) are for a batch of 4" in text
    assert all(heading in text and f">{heading}</th>" in page for heading in HEADINGS)
    assert data["after"]["parameters"] == report.after.parameters
    assert [layer["name"] for layer in data["layers"]] == ["0", "2", "4"]
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert report._repr_html_() in page
