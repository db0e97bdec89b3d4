"""The explorer's page in a real browser: its prices against Python's, clicks, keys, saved orders, and its looks."""

import random
import warnings

import chromium
import numpy as np
import pytest
from explorer_page import OUTSIDE, SPEC, contract, counts, names, position, saved, shown
from oracle import assert_close, oracle_forward
from specs import MARKET

import tnlayers as tnl
from tnlayers.declare.graph import forward
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import Choice, Grid, make_grid, of_spec
from tnlayers.explore.page import save_page
from tnlayers.explore.prices import step_prices, total
from tnlayers.planning.plan import Plan

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium here: apt install chromium"),
]

LARGE = "mpo(in=2x2x2x2x2x2x2x2x2x2x2x2, out=2x2x2x2x2x2x2x2x2x2x2x2, bond=4)"


def test_stepping_through_the_planners_order(page):
    planned = tnl.plan(SPEC, 128)
    assert shown(page, 4) == counts(total(step_prices(planned)))
    assert names(page) == list(planned.contraction.names)
    assert position(page) == "step 0 of 4"
    assert page.ask("document.querySelectorAll('.suggested').length") == 2
    for at in range(1, 5):
        page.click("#next")
        assert position(page) == f"step {at} of 4"
        assert len(names(page)) == 5 - at
        assert shown(page, 1) == counts(total(step_prices(planned)[:at]))
    assert page.ask("document.getElementById('next').disabled")
    assert names(page) == ["step 4"]
    page.click("#previous")
    assert position(page) == "step 3 of 4"
    page.click("#first")
    assert names(page) == list(planned.contraction.names)
    page.click("#steps tbody tr:nth-child(2) button")
    assert position(page) == "step 2 of 4"


def test_an_order_picked_by_clicks_is_priced_saved_and_read_by_a_layer(page):
    page.click("#reset")
    assert page.ask("document.getElementById('save').disabled")
    contract(page, ("core_3", "core_2"), ("x", "core_0"))
    path = ((4, 3), (0, 1), (6, 2), (5, 7))
    made = Plan(contraction=forward(tnl.spec(SPEC).graph, 128), path=path, features=(784, 256))
    assert shown(page, 1) == counts(total(step_prices(made)[:2]))
    contract(page, ("step 2", "core_1"), ("step 1", "step 3"))
    assert shown(page, 1) == counts(total(step_prices(made)))
    assert shown(page, 1)["flops"] == made.cost.flops
    assert shown(page, 4) == counts(total(step_prices(tnl.plan(SPEC, 128))))
    page.click("#save")
    read = tnl.Plan.from_json(saved(page, "order-mpo-batch-128.json"))
    assert read == made
    assert (read.found_by, read.title) == ("hand", SPEC)
    layer = tnl.build(SPEC, backend="numpy", seed=0)
    layer.use_plan(read)
    x = np.random.default_rng(0).standard_normal((5, 784)).astype(np.float32)
    assert_close(layer(x), oracle_forward(layer.spec, list(layer.cores.values()), x), dtype="float32")


def test_undo_walking_back_and_another_way(page):
    page.click("#reset")
    contract(page, ("core_0", "core_1"), ("core_2", "core_3"))
    page.click("#undo")
    assert names(page) == ["x", "core_2", "core_3", "step 1"]
    contract(page, ("x", "step 1"))
    page.click("#previous")
    assert page.ask("state.order.path.length") == 2  # walking back forgets nothing
    contract(page, ("core_2", "step 1"))  # another way does
    assert page.ask("state.order.path") == [[1, 2], [3, 5]]
    page.click("#planner")
    assert page.ask("document.getElementById('whose').textContent").startswith("The planner's order")
    page.click("#next")
    contract(page, ("step 1", "x"))  # from the middle of the planner's order
    assert page.ask("state.order.by + state.order.path.length") == "hand2"


def test_while_one_operand_is_chosen_the_others_tell_their_flops(page):
    page.click("#reset")
    page.click("[data-name=core_0]")
    assert page.ask("document.querySelector('.chosen').dataset.name") == "core_0"
    assert page.ask("document.querySelector('[data-name=core_1] .offer').textContent") == "229 k"
    assert "Choose the second operand" in page.ask("document.getElementById('hint').textContent")
    page.ask("document.querySelector('[data-name=core_1]').focus()")
    assert page.ask("document.getElementById('hint').textContent") == (
        "229 k flops, 58.4 kB moved; the result takes 28.7 kB, with 28.7 kB of intermediates alive."
    )
    page.click("[data-name=core_0]")
    assert page.ask("document.querySelectorAll('.chosen, .offer').length") == 0


def test_choices_lead_to_their_plans_and_a_picked_order_stays_for_another_batch(page):
    page.click("#reset")
    contract(page, ("core_0", "core_1"), ("core_2", "core_3"), ("step 1", "step 2"), ("x", "step 3"))
    page.choose("batch", "1")
    path = ((1, 2), (3, 4), (5, 6), (0, 7))
    made = Plan(contraction=forward(tnl.spec(SPEC).graph, 1), path=path)
    assert shown(page, 1) == counts(total(step_prices(made)))
    assert shown(page, 4) == counts(total(step_prices(tnl.plan(SPEC, 1))))
    page.choose("optimizer", "greedy")
    assert shown(page, 4) == counts(total(step_prices(tnl.plan(SPEC, 1, optimize="greedy"))))
    page.choose("network", "cp")
    page.choose("bond", "8")
    other = "cp(in=4x7x7x4, out=4x4x4x4, rank=8)"
    assert page.ask("document.getElementById('spec').textContent").startswith(other)
    assert shown(page, 4) == counts(total(step_prices(tnl.plan(other, 1, optimize="greedy"))))
    assert page.ask("state.order.by") == "planner"


def test_all_of_it_by_keyboard(page):
    page.key("ArrowRight")
    assert position(page) == "step 1 of 4"
    page.key("r")
    for name in ("core_1", "core_2"):
        page.ask(f"document.querySelector('[data-name={name}]').focus()")
        page.key("Enter")
    assert page.ask("state.order.path") == [[2, 3]]
    assert page.ask("document.activeElement.dataset.name") == "step 1"
    page.key("u")
    assert page.ask("state.order.path.length") == 0
    page.ask("document.querySelector('[data-name=x]').focus()")
    page.key("Enter")
    page.key("Escape")
    assert page.ask("state.chosen") is None
    reached = set()
    for _ in range(20):
        page.key("Tab")
        reached.add(page.ask("document.activeElement.id || document.activeElement.dataset.name"))
    assert reached >= {"network", "batch", "theme", "x", "core_0", "core_3", "planner"}


def test_every_network_is_drawn_at_every_step(page, tmp_path):
    """One of each type, with its operands and open legs, in the picture; the last thing left is the output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        every = {made.network: Choice("", of_spec(made)) for made in map(tnl.spec, MARKET.values())}
    choices = tuple(every.values())
    save_page(page_data(Grid(choices=choices, batches=(6,), optimizers=("greedy",))), tmp_path / "all.html")
    page.open(tmp_path / "all.html")
    for choice in choices:
        page.choose("network", choice.network)
        names = ["x", *(core.name for core in choice.part.graph.cores)]
        for at in range(len(names)):
            outside, count = page.ask(f"[{OUTSIDE}, document.querySelectorAll('#diagram .operand').length]")
            assert (outside, count) == ([], len(names) - at), (choice.part, at)
            page.ask("actions.next()")
        legs = page.ask("[...document.querySelectorAll('#diagram path.output')].length")
        modes = len(choice.part.graph.outputs)
        assert legs == (modes if modes <= 4 else 1), choice.part


@pytest.mark.parametrize("text", ["mpo(in=28x28, out=16x16, bond=8)", LARGE], ids=["2 cores", "12 cores"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_its_looks(browser, tmp_path, text, dark):
    """Everything drawn lies within the picture, the page is as wide as the window, and the colours are the reader's."""
    file = tmp_path / "page.html"
    save_page(page_data(make_grid(text, batches=[64], bonds=[4], networks=["ring"], optimizers=["greedy"])), file)
    for size in ((1280, 1000), (700, 1000)):
        browser.open(file, size=size, dark=dark)
        for kind in ("mpo", "ring"):
            browser.choose("network", kind)
            for _ in range(random.Random(text).randrange(1, 3)):
                assert browser.ask(OUTSIDE) == []
                browser.key("ArrowRight")
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(22, 27, 34)" if dark else "rgb(255, 255, 255)")
    browser.choose("theme", "light" if dark else "dark")
    assert browser.ask("getComputedStyle(document.body).backgroundColor") != paper


def test_a_partial_order_is_compared_with_the_planners_at_the_same_step(page):
    planned = step_prices(tnl.plan(SPEC, 128))
    page.click("#reset")
    contract(page, ("core_3", "core_2"))
    assert shown(page, 2) == counts(total(planned[:1]))
    assert shown(page, 4) == counts(total(planned))


def test_two_orders_side_by_side(page):
    page.click("#pin")
    page.click("#reset")
    contract(page, ("x", "core_0"))
    assert page.ask("document.querySelectorAll('#pinned .operand').length") == 4
    assert page.ask("document.getElementById('totals').rows[0].cells[4].textContent") == "pinned in all"
    page.click("#pin")
    assert page.ask("document.getElementById('beside').hidden")


def test_candidates_and_the_batch_axis(page):
    page.choose("batch", "1")
    kinds = page.ask("[...document.querySelectorAll('#candidates td:nth-child(2)')].map(e => e.textContent)")
    assert "rebuild" in kinds
    page.click(f"#candidates tbody tr:nth-child({1 + kinds.index('rebuild')}) button")
    assert page.ask("state.order.by") == "hand"
    assert "changes between batch" in page.ask("document.getElementById('changes').textContent")
    assert page.ask("document.querySelectorAll('#axis circle').length") == 13
    page.choose("limit", "1/16")
    assert "chunks of" in page.ask("document.getElementById('python').textContent")
    page.choose("limit", "none")
    page.choose("objective", "training")
    rows = page.ask("[...document.querySelectorAll('#passes td:first-child')].map(e => e.textContent)")
    assert rows == ["forward", "inference", "training"]
