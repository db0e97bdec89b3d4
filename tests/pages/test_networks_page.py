"""docs/networks.md: its tables are those of the stored measurement, and the examples beside it work."""

import json
import runpy
import warnings

import numpy as np
import pytest
from places import DOCS
from scripts import script

import tnlayers as tnl
from tnlayers.cores.initialise import default_variance
from tnlayers.declare import registry
from tnlayers.declare.registry import network_types

page = script("networks")
STORED = json.loads(page.STORE.read_text())["types"]
BUDGET = 0.05 * 1024 * 1024


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))
    yield
    registry.declare.cache_clear()


def test_the_page_shows_what_is_stored():
    assert page.write(json.loads(page.STORE.read_text())) == page.PAGE.read_text(), "run docs/results/networks.py"
    for kind in network_types():
        if kind.source == "built in":
            assert f"| `{kind.name}` |" in page.PAGE.read_text()
            assert kind.name in STORED


@pytest.mark.parametrize("network", list(page.TEMPLATES))
def test_a_stored_row_is_the_nearest_size_within_the_budget(network):
    row = STORED[network]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        spec = tnl.spec(row["spec"])
    assert (spec.in_features, spec.out_features) == (1024, 1024)
    assert row["parameters"] == spec.parameters <= BUDGET
    if network not in ("cp", "mpo"):  # a thousand candidates: slow
        assert page.choose(network, 1024, 1024) == spec
    # The planner may have learnt since; a table that is off by half says so here.
    assert 1 / 2 < row["flops"]["128"] / tnl.plan(spec, 128).flops < 2
    moment = row["moment"]
    assert moment["asked"] == default_variance(1024)
    assert abs(moment["mean_over_asked"] - 1) <= 4 * moment["standard_error"] + 1e-12
    assert all(0 <= fit["error"] < 1.01 for fit in row["fits"].values() if fit)


def test_the_wheel_is_a_type_and_its_file_says_the_same(own_registry):
    runpy.run_path(str(DOCS / "examples" / "wheel.py"))
    tnl.load_network(DOCS / "examples" / "wheel.yaml")
    spec = tnl.spec("wheel(in=2x3x2, out=2x2x3, bond=2)")
    assert spec.graph == tnl.spec("wheel_of_three(in=2x3x2, out=2x2x3, bond=2)").graph
    assert spec.parameters == 8 + 8 * (4 + 6 + 6)
    layer = tnl.build(spec, "numpy", seed=0, dtype="float64")
    hub, a, b, c = layer.cores.values()
    equation = "pqr,puiav,qvjbw,rwkcu->abcijk"
    expected = np.einsum(equation, hub, a, b, c, optimize=True).reshape(12, 12)
    assert np.abs(layer.to_dense() - expected).max() < 1e-14


def test_the_sizes_of_files_leave_docstrings_out(tmp_path):
    file = tmp_path / "a.py"
    file.write_text('"""One.\n\ntwo\n"""\n\n# three\nx = 1\n\n\ndef f():\n    """Doc."""\n    return x\n')
    assert page.lines_of(file) == (12, 3)
