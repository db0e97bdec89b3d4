"""A search over shapes and orders in a whole model: never worse, never larger, and told."""

from __future__ import annotations

import json
import time
from html import escape

import numpy as np
import pytest
from planted import shuffled_clusters
from processor_time import processor_time  # noqa: F401  # a fixture

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


def planted():
    """A layer whose rows are alike in groups that stand scattered, a table of a planted shape, and a plain layer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(24, 48), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    shape = tnl.build("mpo(in=2x3x4, out=4x3x4, bond=3)", backend="numpy", dtype="float64", seed=1)
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(np.ascontiguousarray(shape.to_dense().T)))
        model[1].weight.copy_(torch.from_numpy(shuffled_clusters()))
    return model.double()


def error(layer, weight):
    return float(((layer.to_dense() - weight).norm() / weight.norm()).detach())


def test_what_was_planted_is_found_and_told(tmp_path):
    model, rules = planted(), {"0": "mpo(cores=3)", "1": "mpo(in=6x8, out=6x8)"}
    plain = tnl.compress(model, ratio=0.4, rules=rules)
    begin = time.process_time()  # others may use the processor
    found = tnl.compress(model, ratio=0.4, rules=rules, search=2.0, cache=tmp_path)
    assert time.process_time() - begin < 20
    assert found.report.after.parameters <= plain.report.after.parameters
    assert found.report.after.parameters == sum(p.numel() for p in found.model.parameters())
    for place, most in ((0, 0.5), (1, 0.85)):
        row, before, weight = found.report.layers[place], plain.model[place], model[place].weight
        assert error(found.model[place], weight) == pytest.approx(row.error, rel=1e-6)
        assert row.error < most * error(before, weight)
        assert f"error {error(before, weight):.4g} -> {row.error:.4g}" in row.searched
        assert escape(row.searched) in found.report.to_html()
    orders = 4 * 2 * 48
    assert found.report.layers[1].after.bytes == 8 * found.report.layers[1].after.parameters + orders
    assert json.loads(found.report.to_json())["layers"][1]["searched"] == found.report.layers[1].searched
    again = tnl.compress(model, ratio=0.4, rules=rules, search=2.0, cache=tmp_path)
    ids = torch.arange(24)
    assert torch.equal(again.model(ids), found.model(ids))
    assert again.report.layers[1].searched == found.report.layers[1].searched
    tnl.save(found.model, tmp_path / "model.safetensors")
    assert torch.equal(tnl.load(tmp_path / "model.safetensors", into=planted())(ids), found.model(ids))


def test_no_layer_gets_worse_by_what_counts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60)).double()
    x = torch.randn(300, 60, dtype=torch.float64) * torch.linspace(2, 0.05, 60, dtype=torch.float64)
    plain = tnl.compress(model, ratio=0.4, network=["mpo(cores=2)", "lowrank"], sample=x)
    found = tnl.compress(model, ratio=0.4, network=["mpo(cores=2)", "lowrank"], sample=x, search=0.5)
    for before, after in zip(plain.report.layers, found.report.layers, strict=True):
        assert after.output_error <= before.output_error * (1 + 1e-9)
        assert after.after.parameters <= before.after.parameters
        assert (after.searched is None) == (after.network == "dense")
    assert any("orders in" in (row.searched or "") for row in found.report.layers)


def test_tied_layers_share_what_is_found():
    model = planted()
    model[3] = nn.Linear(48, 24, bias=False).double()
    model[3].weight = model[0].weight
    made = tnl.compress(model, ratio=0.5, network="mpo(cores=3)", search=0.5).model
    assert all(made[3].cores[name] is core for name, core in made[0].cores.items())
    assert made[0].in_order is None
    torch.testing.assert_close(made[3].to_dense(), made[0].to_dense())


def test_refusals():
    for search in (-1.0, float("inf"), True, "long"):
        with pytest.raises(tnl.TNLayersError, match="must be seconds, a number of at least 0"):
            tnl.compress(planted(), ratio=0.5, search=search)
    for more in ({"max_flops": 9000}, {"ratio": 0.5, "avoid_slower": True}):
        with pytest.raises(tnl.TNLayersError, match="other shapes have other flops"):
            tnl.compress(planted(), search=1.0, **more)
