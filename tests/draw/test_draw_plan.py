"""Pictures of plans: every operand and step once, bars that tell the plan's own counts."""

from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from drawings import SVG, check_within, shapes
from quiet import quiet
from specs import MARKET, SUMS

import tnlayers as tnl
from tnlayers.draw.scene import Group, Rectangle
from tnlayers.draw.steps import plan_steps, registers
from tnlayers.draw.timeline import highest, timeline
from tnlayers.program.program import Multiply

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"


def values(root, kind, key):
    return Counter(g.get(key) for g in root.iter(f"{SVG}g") if g.get("class") == kind)


def memory(plan, k):
    """Bytes of intermediates alive while step k runs, from the last use of each: another way than the code's."""
    first, steps = plan.program.operands, plan.program.steps
    used = {register: n for n, step in enumerate(steps) for register in step.registers}
    alive = [r for r in range(first, first + k + 1) if used.get(r, len(steps)) >= k]
    made = sum(4 * plan.contraction.elements(plan.program.indices[r]) for r in alive)
    return made + (plan.steps[k].copied // 2 if isinstance(steps[k], Multiply) else 0)


@pytest.mark.parametrize("row", ["mpo-1", "mpo-4", "mpo-padded", "star", "monarch", "traced", "repeated", "cp"])
@pytest.mark.parametrize("batch", [1, 128])
def test_every_step_is_drawn_with_its_counts(row, batch):
    plan = tnl.plan(quiet(lambda: tnl.spec(MARKET[row])), batch)
    root = ElementTree.fromstring(plan.draw().svg)
    check_within(root)
    assert values(root, "operand", "data-name") == Counter(plan.contraction.names)
    assert values(root, "step", "data-number") == Counter(str(k + 1) for k in range(len(plan.steps)))
    counts = [(cost.flops, cost.bytes, memory(plan, k)) for k, cost in enumerate(plan.steps)]
    assert values(root, "bar", "data-value") == Counter(str(n) for three in counts for n in three)


def test_what_carries_the_batch_is_told_apart():
    plan = tnl.plan(SPEC, 128)
    found = registers(plan)
    assert [r.batch for r in found[:5]] == [True, False, False, False, False]
    assert found[-1].batch
    assert found[0].shape == "128x4x7x7x4"


def test_training_shows_what_is_kept_for_backward():
    training = tnl.plan(SPEC, 64, objective="training")
    assert plan_steps(training)[-1].kept == training.cost.kept

    def bars(plan):
        titles = [g.title for g in timeline(plan, highest([plan])).shapes if isinstance(g, Group)]
        return sum("saved for backward" in title for title in titles)

    assert bars(training) == len(training.steps)
    assert bars(tnl.plan(SPEC, 64)) == 0


def test_training_shows_forward_next_to_backward():
    plan = tnl.plan(SPEC, 64, objective="training")
    root = ElementTree.fromstring(plan.draw().svg)
    counts = [count for cost in (plan.cost, plan.backward) for count in (cost.flops, cost.bytes)]
    assert values(root, "pass", "data-value") == Counter(map(str, counts))
    assert not values(ElementTree.fromstring(tnl.plan(SPEC, 64).draw().svg), "pass", "data-value")


def test_chunks_hold_only_their_rows():
    sweep = [(0, 1), (0, 3), (0, 2), (0, 1)]
    whole = replace(tnl.plan(SPEC, 64, optimize=sweep), chunk=None)
    chunked = replace(whole, chunk=16)
    assert max(step.memory for step in plan_steps(chunked)) < max(step.memory for step in plan_steps(whole))
    assert "16 rows at a time" in chunked.draw().svg


def test_plans_side_by_side_share_their_scale():
    small, large = tnl.plan(SPEC, 1), tnl.plan(SPEC, 128)
    picture = tnl.draw(small, large)
    assert picture.title == f"Plans of {SPEC} for batch 1 and 128"
    check_within(ElementTree.fromstring(picture.svg))
    tops = highest([small, large])

    def tallest(plan, tops):
        bars = [bar for group in timeline(plan, tops).shapes for bar in shapes(group, Rectangle) if bar is not group]
        return max(bar.size[1] for bar in bars)

    assert tallest(small, tops) < tallest(large, tops) / 5
    assert tallest(small, highest([small])) == pytest.approx(tallest(large, tops))


@pytest.mark.parametrize("row", SUMS)
def test_plans_of_sums_have_a_tree_per_term(row):
    plan = tnl.plan(quiet(lambda: tnl.spec(SUMS[row])), 8)
    root = ElementTree.fromstring(plan.draw(theme="dark").svg)
    assert values(root, "tree", "class")["tree"] == len(plan.terms)
    check_within(root)


def test_an_einsum_and_a_large_network_have_plans_to_draw():
    large = tnl.spec("mpo", in_modes=(2,) * 12, out_modes=(3,) * 12, bond_dim=2)
    check_within(ElementTree.fromstring(tnl.plan(large, 16).draw().svg))
