"""The benchmark measures what it says: on one tiny cell, with the contenders that need no other library."""

import json

import pytest
import torch

import tnlayers as tnl
from tnlayers.bench.cells import Cell, grid, quick, select
from tnlayers.bench.contenders import OWN
from tnlayers.bench.limit import limit
from tnlayers.bench.measure import Timing, call_of, memory, ratio
from tnlayers.bench.peers import PEERS, installed
from tnlayers.bench.report import write_report
from tnlayers.bench.run import run_cells


def tiny(mode="training"):
    return Cell(in_features=64, out_features=27, cores=3, bond=4, batch=8, mode=mode)


def test_cells_have_names_of_their_own():
    cells = grid()
    assert len({cell.name for cell in cells}) == len(cells) == 6 * 3 * 5 * 2 + 2 * 6 * 2
    assert {cell.name for cell in quick()} <= {cell.name for cell in cells}
    assert [cell.batch for cell in select(cells, "784-256-c4-r16-b128-forward")] == [128] * 3
    with pytest.raises(tnl.TNLayersError, match="No cell's name contains 'b77'"):
        select(cells, "b77")


@pytest.mark.parametrize("name", [name for name in OWN if name != "dense"])
def test_other_ways_to_run_the_declaration_give_the_same_numbers(name):
    cell = tiny()
    x = torch.randn(8, 64)
    expected = OWN["tnlayers"](cell)(x)
    torch.testing.assert_close(OWN[name](cell)(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_peers_have_as_many_parameters(name):
    if name not in installed():
        pytest.skip(f"{PEERS[name][0]} is not installed: it belongs to the benchmark's own environment")
    cell = tiny()
    module = PEERS[name][1](cell)
    bias = 27 if name == "torchtt" else 0  # which cannot be left out there
    assert sum(p.numel() for p in module.parameters()) == OWN["tnlayers"](cell).spec.parameters + bias
    assert module(torch.randn(8, 64)).shape == (8, 27)


def test_memory_is_what_is_allocated():
    entries = 1 << 16

    class Doubled(torch.nn.Module):
        def forward(self, x):
            return (x * 2).sum().reshape(1, 1)

    cell = Cell(in_features=entries, out_features=1, cores=1, bond=1, batch=1, mode="forward")
    peak, kept = memory(call_of(Doubled(), cell), cell)
    assert 4 * entries <= peak < 4 * entries + 4096  # the doubled array, and a sum
    assert kept == 0


def test_ratios_are_of_the_same_round():
    one = Timing(seconds=(1.0, 10.0, 1.0), peak=0, kept=0)
    other = Timing(seconds=(2.0, 20.0, 2.0), peak=0, kept=0)
    assert ratio(other, one) == (2.0, 2.0, 2.0)


def test_a_run_goes_on_where_it_stopped_and_reports(tmp_path):
    path, page, told = tmp_path / "bench.json", tmp_path / "page.md", []
    run_cells([tiny("forward")], path, cap=0.0, tell=told.append)
    data = run_cells([tiny("forward"), tiny()], path, cap=0.0, tell=told.append)
    assert [line.partition(":")[0] for line in told] == ["64-27-c3-r4-b8-forward", "64-27-c3-r4-b8-training"]
    assert json.loads(path.read_text()) == data
    for result in data["cells"].values():
        assert set(OWN) <= {*result["contenders"], *result["failed"]}
        assert not set(OWN) & set(result["failed"])
        assert result["contenders"]["dense"]["to_dense"] == 1.0
        assert result["limit_seconds"] > 0
    write_report(data, page)
    assert "64 to 27, 3 cores, bond 4, batch 8, training" in page.read_text()
    assert (tmp_path / "img" / "bench-ratios.png").stat().st_size > 10_000


def test_the_limit_grows_with_the_work():
    small = tiny()
    large = Cell(in_features=1024, out_features=1024, cores=3, bond=16, batch=256, mode="training")
    assert limit(large) > 10 * limit(small)
