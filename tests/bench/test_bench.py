"""The benchmark measures what it says: on tiny cells, with the contenders that need no other library."""

import json
from dataclasses import replace

import pytest
import torch

import tnlayers as tnl
from tnlayers.bench import cell_run
from tnlayers.bench.call_memory import memory
from tnlayers.bench.cells import Cell, grid, named
from tnlayers.bench.contenders import OWN
from tnlayers.bench.equal_parameters import TYPES, template
from tnlayers.bench.growth import measure_point, points
from tnlayers.bench.limit import Product, limit, page_seconds, product_seconds, products_of
from tnlayers.bench.measure import Timing, interval, measure, ratio
from tnlayers.bench.peers import PEERS, installed
from tnlayers.bench.run import load, run_items
from tnlayers.bench.schedule import quick, schedule, select
from tnlayers.bench.subjects import Given, torch_subject


def tiny(mode="training", **changes):
    return Cell(**{"in_features": 64, "out_features": 27, "cores": 3, "bond": 4, "batch": 8, "mode": mode, **changes})


def given(cell):
    return Given(cell, {name: core.detach() for name, core in OWN["tnlayers"](cell).cores.items()})


def test_all_cells_have_their_turn_and_those_of_the_bars_come_first():
    items = schedule()
    names = [item.name for item in items]
    assert len(set(names)) == len(names)
    assert {cell.name for cell in grid()} | {cell.name for cell in quick()} <= set(names)
    assert len(grid()) == 6 * 3 * 5 * 2
    assert set(names[:12]) == {cell.name for cell in named()}
    assert {item.network.partition("(")[0] for item in items if isinstance(item, Cell)} == {"", *TYPES}
    assert [cell.batch for cell in select(items, "784-256-c4-r16-b128-forward")] == [128] * 4
    with pytest.raises(tnl.TNLayersError, match="No cell's name contains 'b77'"):
        select(items, "b77")


@pytest.mark.parametrize("name", ["ring", "tree", "chord", "cp", "monarch"])
def test_other_types_have_about_as_many_parameters(name):
    wanted = tiny(in_features=1024, out_features=1024, bond=16).spec.parameters
    found = tiny(network=template(name, 1024, 1024, wanted), in_features=1024, out_features=1024)
    assert 0.6 < found.spec.parameters / wanted < 1.6


@pytest.mark.parametrize("name", [*OWN, *PEERS])
@pytest.mark.parametrize("mode", ["forward", "training"])
def test_answers_are_compared_with_double_precision(name, mode):
    makers = OWN | installed()
    if name not in makers:
        pytest.skip(f"{PEERS[name][0]} is not installed: it belongs to the benchmark's own environment")
    cell = tiny(mode)
    module, fixed = makers[name](cell), given(cell)
    subject = torch_subject(name, module, fixed)
    if name == "dense":
        assert subject.answer is None
        return
    assert fixed.units(subject.answer()) <= 1
    with torch.no_grad():
        next(module.parameters())[0] *= 1.001
    assert fixed.units(subject.answer()) > 1


def test_memory_is_what_is_allocated_and_gradients_are_not():
    entries = 1 << 16
    x = torch.ones(entries, requires_grad=True)
    peak, kept = memory(lambda: (x * 2).exp().sum().backward(), [x])
    assert 2 * 4 * entries <= peak < 3 * 4 * entries  # 2 x and exp(2 x); going back, that and its gradient
    assert 4 * entries <= kept < 4 * entries + 4096  # exp(2 x), and the sum
    peak, kept = memory(lambda: x.detach() * 2)
    assert 4 * entries <= peak < 4 * entries + 4096
    assert x.grad.shape == x.shape


def test_ratios_are_of_the_same_round():
    one = Timing(seconds={0: 1.0, 1: 10.0, 2: 1.0})
    other = Timing(seconds={0: 2.0, 2: 2.0, 1: 20.0})
    assert ratio(other, one) == (2.0, 2.0, 2.0)
    middle, low, high = interval(range(101))
    assert middle == 50
    assert 30 < low < 50 < high < 70


def test_slow_contenders_take_part_in_fewer_rounds():
    def spin(n):
        return lambda: sum(range(n))

    calls = {"dense": spin(20_000), "tnlayers": spin(20_000), "fast": spin(20_000), "slow": spin(2_000_000)}
    found = measure(calls, threads=1, cap=0.5)
    assert len(found["tnlayers"].seconds) == len(found["fast"].seconds) > 3 * len(found["slow"].seconds) > 0


def test_what_is_slow_wrong_or_fails_is_told_and_not_timed(monkeypatch):
    class Wrong(torch.nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.layer = OWN["tnlayers"](cell)

        def forward(self, x):
            return 1.01 * self.layer(x)

    class Slow(Wrong):
        def forward(self, x):
            sum(range(3_000_000))
            return self.layer(x)

    def failing(cell):
        raise RuntimeError("no such layer")

    monkeypatch.setattr(cell_run, "OWN", {**OWN, "wrong": Wrong, "slow": Slow, "failing": failing})
    result = cell_run.run_cell(tiny("forward"), cap=0.01)
    assert {name: left["why"] for name, left in result["left_out"].items() if name in ("wrong", "slow", "failing")} == {
        "wrong": "wrong",
        "slow": "slow",
        "failing": "failed",
    }
    assert result["left_out"]["failing"]["told"] == "RuntimeError: no such layer"
    assert not {"wrong", "slow", "failing"} & result["contenders"].keys()


def test_a_run_goes_on_where_it_stopped(tmp_path):
    path, message = tmp_path / "bench.json", []
    run_items([tiny("forward")], path, cap=0.0, report_line=message.append)
    data = run_items([tiny("forward"), tiny()], path, cap=0.0, report_line=message.append)
    assert [line.partition(":")[0] for line in message] == ["64-27-c3-r4-b8-forward", "64-27-c3-r4-b8-training"]
    assert load(path) == json.loads(path.read_text()) == data
    assert [run["commit"] for run in data["runs"]] == [data["runs"][0]["commit"]] * 2
    for result in data["cells"].values():
        assert not set(OWN) & set(result["left_out"])
        assert result["contenders"]["dense"]["to_dense"] == [1.0, 1.0, 1.0]
        assert result["limit"]["seconds"] > 0
    message.clear()
    assert run_items([tiny(batch=4)], path, cap=0.0, budget=0, report_line=message.append) == data
    run_items([tiny(batch=4)], path, cap=100.0, budget=0.01, report_line=message.append)
    assert "passed over" in message[0]
    data["runs"][0]["commit"] = "another"
    path.write_text(json.dumps(data))
    again = run_items([tiny("forward"), tiny()], path, cap=0.0, again=True)
    assert [again["cells"][cell.name]["run"] for cell in (tiny("forward"), tiny())] == [2, 1]
    path.write_text('{"format": "else"}')
    with pytest.raises(tnl.TNLayersError, match="its format is 'else'"):
        load(path)


def test_jax_rows_are_compared_too():
    result = cell_run.run_cell(tiny(framework="jax"), cap=0.0)
    assert list(result["contenders"]) == ["dense", "tnlayers", "rebuild", "opt_einsum"]
    assert not result["left_out"]


def test_the_limit_grows_with_the_work():
    large = Cell(in_features=1024, out_features=1024, cores=3, bond=16, batch=256, mode="training")
    assert limit(large).seconds > 10 * limit(tiny()).seconds
    assert limit(large).flops > 2.5 * limit(replace(large, mode="forward")).flops


@pytest.mark.parametrize("chunk", [None, 1, 2])
@pytest.mark.parametrize("path", [[(0, 3), (0, 1), (0, 1)], [(0, 1), (0, 2), (0, 1)]], ids=["back", "forth"])
def test_the_limit_counts_what_the_plan_computes_and_where_x_and_y_lie(path, chunk):
    plan = replace(tnl.plan(tiny().spec, batch=8, objective="training", optimize=path), chunk=chunk)
    products = list(products_of(plan))
    assert sum(count * product.flops for product, count in products) == plan.cost.flops + plan.backward.flops
    walked = {part for product, _ in products for part in product.parts}
    assert walked == {1, 8 // (chunk or 8)}


def test_a_product_that_walks_through_memory_and_a_new_array_take_longer():
    sizes = (1, 512, 16, 16)
    at_hand, walking = (product_seconds(Product(sizes, parts=(k, 1, 1)), "float32", 1) for k in (1, 2048))
    assert walking > at_hand
    assert page_seconds(2**24, "float32", 1) > 0


def test_a_point_of_the_growth_has_its_prediction():
    point = next(point for point in points() if point.name == "batch-16-training")
    found = measure_point(point, cap=0.0)
    assert found["seconds"][0] > 0 < found["predicted_seconds"]
    assert 0.2 < found["peak_bytes"] / found["predicted_bytes"] < 5
