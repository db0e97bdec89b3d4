"""The explorer in a notebook, driven by the values of its widgets, without a browser."""

import itertools
import warnings

import ipywidgets
import numpy as np
import pytest
from interpreter import run
from oracle import assert_close, oracle_forward

import tnlayers as tnl
from tnlayers.explore.order import Order, planned
from tnlayers.explore.prices import step_prices
from tnlayers.explore.view import picture

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"


@pytest.fixture
def explorer():
    return tnl.explore(SPEC, batch=128)


def names(explorer):
    return [button.description for button in explorer.picks.children]


def toggle(explorer, name):
    """Press one of the buttons that stand for operands."""
    (button,) = (button for button in explorer.picks.children if button.description == name)
    button.value = not button.value


def press(explorer, name):
    explorer.buttons[name].click()


def test_it_begins_with_the_planners_order(explorer):
    assert isinstance(explorer, ipywidgets.VBox)
    assert explorer.plan.path == tnl.plan(SPEC, 128).path
    assert names(explorer) == ["x", "core_0", "core_1", "core_2", "core_3"]
    assert explorer.picture.value.count('class="core"') == 5
    assert "58.3 M" in explorer.totals.value


def test_stepping(explorer):
    for left in (4, 3, 2, 1):
        press(explorer, "Next")
        assert len(names(explorer)) == left
        assert explorer.picture.value.count('class="core"') == left
    assert explorer.buttons["Next"].disabled
    press(explorer, "Previous")
    assert explorer.order.at == 3
    press(explorer, "Start")
    assert explorer.order.at == 0
    press(explorer, "End")
    assert explorer.order.at == 4


def test_an_order_picked_by_hand_runs_in_a_layer_and_goes_through_a_file(explorer, tmp_path):
    press(explorer, "Reset")
    assert explorer.buttons["Save"].disabled
    for name in ("core_3", "core_2", "x", "core_0", "step 2", "core_1", "step 1", "step 3"):
        toggle(explorer, name)
    assert explorer.order.path == ((4, 3), (0, 1), (6, 2), (5, 7))
    explorer.file.value = str(tmp_path / "mine.json")
    press(explorer, "Save")
    assert "Saved" in explorer.message.value
    read = tnl.Plan.from_json((tmp_path / "mine.json").read_text())
    assert read == explorer.plan
    assert read.found_by == "hand"
    layer = tnl.build(SPEC, backend="numpy", seed=0)
    layer.use_plan(read)
    x = np.random.default_rng(0).standard_normal((5, 784)).astype(np.float32)
    assert_close(layer(x), oracle_forward(layer.spec, list(layer.cores.values()), x), dtype="float32")


def test_a_chosen_operand_is_marked_and_can_be_let_go(explorer):
    plain = explorer.picture.value
    toggle(explorer, "core_1")
    assert explorer.chosen == "core_1"
    assert explorer.picture.value != plain
    toggle(explorer, "core_1")
    assert (explorer.chosen, explorer.picture.value) == (None, plain)


def test_undo_finish_and_the_planners_order(explorer):
    press(explorer, "Reset")
    for name in ("x", "core_2"):
        explorer.pick(name)
    press(explorer, "Undo")
    assert explorer.order.path == ()
    for name in ("x", "core_2"):
        explorer.pick(name)
    press(explorer, "Finish")
    assert explorer.order.path[0] == (0, 3)
    assert explorer.plan.cost.flops >= tnl.plan(SPEC, 128).cost.flops
    press(explorer, "Planner's order")
    assert explorer.order == explorer.best


def test_every_choice_is_planned_live(explorer):
    explorer.batch.value = 1
    assert explorer.plan.path == tnl.plan(SPEC, 1).path
    explorer.optimizer.value = "greedy"
    assert explorer.plan.path == tnl.plan(SPEC, 1, optimize="greedy").path
    explorer.bond.value = 5
    assert str(explorer.spec) == "mpo(in=4x7x7x4, out=4x4x4x4, bond=5)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # types whose bonds are clipped say nothing
        for kind in explorer.network.options:
            explorer.network.value = kind
            assert explorer.spec.network == kind
            assert (explorer.spec.in_features, explorer.spec.out_features) == (784, 256)
            assert explorer.message.value == ""
    explorer.network.value = "monarch"
    assert explorer.bond.disabled


def test_a_picked_order_stays_for_another_batch(explorer):
    for name in ("x", "core_0", "step 1", "core_1", "step 2", "core_2", "step 3", "core_3"):
        explorer.pick(name)
    mine = explorer.order.path
    explorer.batch.value = 2
    assert (explorer.plan.batch, explorer.order.path) == (2, mine)
    assert explorer.best.path == tnl.plan(SPEC, 2).path


def test_refusals(explorer):
    with pytest.raises(tnl.TNLayersError, match=r"no 'core_7' to contract; left are x, core_0"):
        explorer.pick("core_7")
    explorer.pick("x")
    explorer.pick("core_0")
    with pytest.raises(tnl.TNLayersError, match=r"not complete: core_1, core_2, core_3, step 1 are left"):
        _ = explorer.plan
    explorer.file.value = "none/there.json"
    press(explorer, "Finish")
    press(explorer, "Save")
    assert "Cannot write" in explorer.message.value
    for spec, message in (("mpo(bond=2)", "template"), ("mpo(in=4, out=4) + mpo(in=4, out=4)", "sum of 2")):
        with pytest.raises(tnl.TNLayersError, match=message):
            tnl.explore(spec)
    with pytest.raises(tnl.TNLayersError, match="batch=0"):
        tnl.explore(SPEC, batch=0)


def test_an_orders_prices_are_those_of_its_plan_at_every_step():
    order = planned(tnl.spec(SPEC), 16, "greedy")
    whole = step_prices(order.plan)
    for at in range(len(order.path) + 1):
        assert order.walked(at).prices() == whole[:at]
        assert Order(spec=order.spec, batch=16, path=order.path[:at], at=at).prices() == whole[:at]


def test_pictures_lie_apart():
    """Every picture on the way has all things left, each once."""
    order = planned(tnl.spec("cp(in=4x7, out=2x5, rank=3)"), 16, "greedy")
    for at in range(len(order.path) + 1):
        items = picture(order.walked(at)).to_dict()["items"]
        cores = [item for item in items if item["kind"] == "core"]
        assert [core["name"] for core in cores] == list(order.walked(at).left.names)
        for a, b in itertools.combinations([core["box"] for core in cores], 2):
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_without_ipywidgets_the_mend_is_told():
    code = f"""
import sys
sys.modules["ipywidgets"] = None  # as if it were not installed
import tnlayers as tnl
try:
    tnl.explore({SPEC!r})
except tnl.TNLayersError as error:
    print(error)
"""
    assert "pip install tnlayers[viz]" in run(code)
