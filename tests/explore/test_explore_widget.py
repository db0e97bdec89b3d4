"""The explorer in a notebook, by its Python face and by the messages of its front end, without a browser."""

import warnings

import numpy as np
import pytest
from interpreter import run
from oracle import assert_close, oracle_forward

import tnlayers as tnl
from tnlayers.explore.order import Order
from tnlayers.explore.prices import step_prices
from tnlayers.explore.subjects import parts_of

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"


@pytest.fixture
def explorer():
    made = tnl.explore(SPEC, batch=128)
    made.answers = []
    made.send = lambda content, **_: made.answers.append(content)
    return made


def message(explorer, **content):
    """What the front end sends, and the kernel's answer."""
    explorer._answer({"number": 7, **content})
    return explorer.answers.pop()


def test_it_begins_with_the_planners_order(explorer):
    assert explorer.plan == explorer.best == tnl.plan(SPEC, 128)
    assert explorer.view["plan"]["path"] == explorer.plan.path
    assert explorer.order.left.names == ("x", "core_0", "core_1", "core_2", "core_3")


def test_an_order_picked_by_hand_runs_in_a_layer_and_goes_through_a_file(explorer, tmp_path):
    explorer.reset()
    for name in ("core_3", "core_2", "x", "core_0", "step 2", "core_1", "step 1", "step 3"):
        explorer.pick(name)
    assert explorer.order.path == ((4, 3), (0, 1), (6, 2), (5, 7))
    assert explorer.order_from_python["order"] == {"path": [[4, 3], [0, 1], [6, 2], [5, 7]], "at": 4, "by": "hand"}
    explorer.save(tmp_path / "mine.json")
    read = tnl.Plan.from_json((tmp_path / "mine.json").read_text())
    assert (read, read.found_by) == (explorer.plan, "hand")
    layer = tnl.build(SPEC, backend="numpy", seed=0)
    layer.use_plan(read)
    x = np.random.default_rng(0).standard_normal((5, 784)).astype(np.float32)
    assert_close(layer(x), oracle_forward(layer.spec, list(layer.cores.values()), x), dtype="float32")


def test_a_chosen_operand_can_be_let_go(explorer):
    for wanted in ("core_1", None):
        explorer.pick("core_1")
        assert (explorer.chosen, explorer.order.at) == (wanted, 0)


def test_undo_finish_and_walk(explorer):
    explorer.reset()
    for name in ("x", "core_2"):
        explorer.pick(name)
    explorer.undo()
    assert explorer.order.path == ()
    for name in ("x", "core_2"):
        explorer.pick(name)
    explorer.finish()
    assert explorer.order.path[0] == (0, 3)
    assert explorer.plan.cost.flops >= tnl.plan(SPEC, 128).cost.flops
    explorer.walk(2)
    assert explorer.order.at == 2


def test_every_choice_is_planned_live(explorer):
    explorer.choose(batch=1)
    assert explorer.plan == tnl.plan(SPEC, 1)
    explorer.choose(optimizer="greedy", objective="training")
    assert explorer.plan == tnl.plan(SPEC, 1, optimize="greedy", objective="training")
    explorer.choose(optimizer="auto", objective="forward", bond=5)
    assert explorer.plan.title == "mpo(in=4x7x7x4, out=4x4x4x4, bond=5)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # types whose bonds are clipped say nothing
        for kind in ("ring", "tree", "monarch"):
            explorer.choose(network=kind)
            assert explorer.choices["network"] == kind
            assert explorer.plan.features == (784, 256)
    assert explorer.view["offered"]["bond"] == [""]
    explorer.choose(network="mpo")
    assert explorer.plan.title == SPEC  # back to what was asked for


def test_a_memory_limit_is_kept_by_chunks_and_slices(explorer):
    free = explorer.best.memory
    for limit, part in (("1/2", 2), ("1/16", 16)):
        explorer.choose(limit=limit)
        assert explorer.best.memory <= free / part
        assert explorer.view["plan"]["memory"] == explorer.best.memory
    small = tnl.explore("lowrank(in=8, out=4, rank=2)", batch=1)
    with pytest.raises(tnl.TNLayersError, match=r"memory_limit=.*least that is feasible"):
        small.choose(limit="1/16")
    assert small.choices["limit"] == "none"  # a refusal changes nothing


def test_a_picked_order_stays_for_another_batch(explorer):
    for name in ("x", "core_0", "step 1", "core_1", "step 2", "core_2", "step 3", "core_3"):
        explorer.pick(name)
    mine = explorer.order.path
    explorer.choose(batch=2)
    assert (explorer.plan.batch, explorer.order.path) == (2, mine)
    assert explorer.best.path == tnl.plan(SPEC, 2).path


def test_messages_of_the_front_end(explorer):
    asked = explorer.choices | {"batch": 16, "objective": "inference"}
    assert message(explorer, ask="plan", **asked) == {"answers": 7}
    assert explorer.best == tnl.plan(SPEC, 16, objective="inference")
    axis = message(explorer, ask="axis", **asked)["axis"]
    assert [point["path"] for point in axis[:2]] == [tnl.plan(SPEC, n, objective="inference").path for n in (1, 2)]
    explorer.order_on_view = {"path": [[1, 2]], "at": 1, "by": "hand"}
    assert explorer.order.left.names == ("x", "core_2", "core_3", "step 1")
    order = message(explorer, ask="finish")["order"]
    assert (order["path"][0], len(order["path"])) == ([1, 2], 4)
    rows = message(explorer, ask="measure", backend="numpy")["rows"]
    assert (rows[0]["name"], rows[-1]["name"]) == ("this order", "dense")
    assert "no optimizer of this name" in message(explorer, ask="plan", **asked | {"optimizer": "none"})["refused"]


def test_candidates_are_ranked_and_the_winner_is_explained(explorer):
    explorer.choose(batch=1)
    text = explorer.view["plan"]
    seconds = [each["seconds"] for each in text["candidates"]]
    assert seconds == sorted(seconds)
    assert text["candidates"][0]["path"] == explorer.best.path
    assert {each["found_by"] for each in text["candidates"]} >= {"rebuild"}
    assert text["why"].startswith("It has the least estimated time")


def test_bytes_are_named_apart(explorer):
    """What print(plan) counts is what products move and copies."""
    text, whole = explorer.view["plan"], explorer.order.at_step(4)
    assert text["printed"] == explorer.best.cost.bytes
    assert text["printed"] - text["copied"] == sum(price.bytes for price in whole.prices())


def test_refusals(explorer):
    with pytest.raises(tnl.TNLayersError, match=r"no 'core_7' to contract; left are x, core_0"):
        explorer.pick("core_7")
    with pytest.raises(tnl.TNLayersError, match="bond='a lot': one positive integer"):
        explorer.choose(bond="a lot")
    with pytest.raises(tnl.TNLayersError, match=r"no choice 'batches'.*Did you mean 'batch'"):
        explorer.choose(batches=3)
    explorer.reset()
    with pytest.raises(tnl.TNLayersError, match=r"not complete: x, core_0, core_1, core_2, core_3 are left"):
        _ = explorer.plan
    explorer.finish()
    with pytest.raises(tnl.TNLayersError, match="Cannot write"):
        explorer.save("none/there.json")
    with pytest.raises(tnl.TNLayersError, match="template"):
        tnl.explore("mpo(bond=2)")
    with pytest.raises(tnl.TNLayersError, match="batch=0"):
        tnl.explore(SPEC, batch=0)
    with pytest.raises(tnl.TNLayersError, match=r"shapes of its operands are needed"):
        tnl.explore("ij,jk->ik")
    with pytest.raises(tnl.TNLayersError, match=r"no contraction to explore in 'int'"):
        tnl.explore(3)


def test_an_orders_prices_are_those_of_its_plan_at_every_step():
    (part,) = parts_of(SPEC)
    order = Order(part=part, batch=16).finished("greedy")
    whole = step_prices(order.plan)
    for at in range(len(order.path) + 1):
        assert order.at_step(at).prices() == whole[:at]
        assert Order(part=part, batch=16, path=order.path[:at], at=at).prices() == whole[:at]


def test_without_anywidget_the_mend_is_told():
    code = f"""
import sys
sys.modules["anywidget"] = None  # as if it were not installed
import tnlayers as tnl
try:
    tnl.explore({SPEC!r})
except tnl.TNLayersError as error:
    print(error)
"""
    assert "pip install tnlayers[viz]" in run(code)


def test_without_a_kernel_it_is_a_page(explorer):
    bundle = explorer._repr_mimebundle_()
    text = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in text
    assert text["text/html"].startswith("<iframe srcdoc=")
    assert "tnlayers.explorer/2" in text["text/html"]
