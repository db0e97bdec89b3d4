"""Plans: values that print, travel as JSON, and take every optimizer."""

import dataclasses
import json

import opt_einsum
import pytest
from promptly import assert_prompt
from specs import MARKET

import tnlayers as tnl
from tnlayers.machine.rates import Machine
from tnlayers.planning.paths import linear_path
from tnlayers.program.program import Multiply

MPO = "mpo(in=4x7x7x4, out=4x4x4x4, bond=8)"


@pytest.mark.parametrize("batch", [1, 128])
@pytest.mark.parametrize("name", MARKET)
def test_json_round_trip(name, batch):
    for objective in ("forward", "training"):
        plan = tnl.plan(MARKET[name], batch, objective=objective, dtype="float64")
        twin = tnl.Plan.from_json(plan.to_json())
        assert twin == plan
        assert hash(twin) == hash(plan)
        assert twin.program == plan.program
        assert twin.steps == plan.steps
        assert str(twin) == str(plan)


def test_plans_are_cached_by_value():
    assert tnl.plan(MPO, 32) is tnl.plan(tnl.spec("mpo(bond=8)", in_modes=(4, 7, 7, 4), out_modes=(4, 4, 4, 4)), 32)
    assert tnl.plan(MPO, 32, optimize=[(0, 1)] * 4) is tnl.plan(MPO, 32, optimize=((0, 1),) * 4)
    assert tnl.plan(MPO, 32) is not tnl.plan(MPO, 33)
    assert tnl.plan(MPO, 32) != tnl.plan(MPO, 32, objective="training")
    assert tnl.plan(MPO, 32) != tnl.plan(MPO, 32, dtype="float64")
    one, other = (tnl.build(MPO, seed=seed) for seed in (0, 1))
    assert one.plan_for(64) is other.plan_for(64)  # layers alike share plans


def test_plans_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tnl.plan(MPO).path = ()


NAMES = [
    "auto-hq",
    "branch-1",
    "branch-2",
    "branch-all",
    "dp",
    "dynamic-programming",
    "eager",
    "greedy",
    "opportunistic",
]
NAMES += ["optimal", "random-greedy"]


@pytest.mark.parametrize("name", NAMES)
def test_optimizers_by_name(name):
    plan = tnl.plan(MPO, 16, optimize=name)
    assert plan.found_by == name
    assert len(plan.path) == 4


def last_two(inputs, output, sizes, memory_limit=None):
    return [(k - 2, k - 1) for k in range(len(inputs), 1, -1)]


@pytest.mark.parametrize(
    ("optimize", "label"),
    [
        (opt_einsum.DynamicProgramming(minimize="size"), "DynamicProgramming"),
        (opt_einsum.RandomGreedy(max_repeats=4, parallel=False), "RandomGreedy"),
        (opt_einsum.BranchBound(), "BranchBound"),
        (last_two, "function"),
    ],
)
def test_optimizers_as_objects(optimize, label):
    plan = tnl.plan(MPO, 16, optimize=optimize)
    assert plan.found_by == label
    assert len(plan.path) == 4


def test_a_path_of_opt_einsum_by_hand():
    steps = [(1, 2), (1, 2), (0, 2), (0, 1)]
    plan = tnl.plan(MPO, 16, optimize=steps)
    assert plan.linear_path == tuple(steps)
    assert plan.found_by == "given"
    # Operands x, 0, 1, 2, 3 are registers 0..4; each pair makes the next one.
    assert plan.path == ((1, 2), (3, 4), (0, 6), (5, 7))
    assert linear_path(5, plan.path) == tuple(steps)


def test_single_operand_steps_of_opt_einsum_are_understood():
    """`dp` reduces operands with indices of their own first, as a step of one operand."""
    plan = tnl.plan(MARKET["traced"], 4, optimize="dp")
    assert plan.cost.flops == tnl.plan(MARKET["traced"], 4, optimize="optimal").cost.flops or len(plan.path) == 2


@pytest.mark.parametrize("objective", ["forward", "training"])
@pytest.mark.parametrize("batch", [1, 128, 4096])
def test_auto_is_the_best_of_its_candidates(batch, objective):
    plan = tnl.plan(MPO, batch, objective=objective)
    for optimize in ("optimal", "dp", "greedy"):
        assert plan.seconds <= tnl.plan(MPO, batch, objective=objective, optimize=optimize).seconds


def test_the_batch_decides():
    """One vector goes through the cores; a thousand want the weight, or most of it, merged first."""
    spec = tnl.spec("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)")
    one, many = tnl.plan(spec, 1, objective="training"), tnl.plan(spec, 2048, objective="training")
    assert one.path != many.path
    assert tnl.plan(spec, 2048, objective="training", optimize=one.linear_path).seconds > many.seconds


def test_printed_plan():
    """x (2, 2, 3), core_0 (2, 3, 4), core_1 (4, 3, 2); contract the cores first, then x.

          2: x, w -> y           2 * 2*(2*3) * (3*2) = 144 flops   (12 + 36 + 12) * 4 = 240 bytes
         /  \\                                                      + 36 copied: 2 * 36 * 4 = 288 bytes
        x    1: core_0, core_1   2 * (2*3) * 4 * (3*2) = 288 flops (24 + 24 + 36) * 4 = 336 bytes

    The dense layer: 2 * 2 * 6 * 6 = 144 flops, (12 + 36 + 12) * 4 = 240 bytes.
    """
    plan = tnl.plan("mpo(in=2x3, out=3x2, bond=4)", 2, optimize=[(1, 2), (0, 1)])
    lines = str(plan).splitlines()
    assert lines[0] == "mpo(in=2x3, out=3x2, bond=4), batch 2, float32; order as given, minimising the forward pass"
    assert lines[1].split() == ["flops", "bytes", "copied", "result", "saved"]
    assert lines[2].split()[-5:] == ["144", "528", "288", "48", "144"]
    assert lines[-1] == "All rows at once; at most 288 bytes in use beyond input, output and cores."
    assert lines[-4].split() == ["total", "432", "864", "288", "144", "144"]
    assert lines[-3].split() == ["dense", "layer", "144", "240", "0", "48", "0"]
    assert lines[-2] == "3x the dense layer's flops, 3.6x its bytes."
    assert "x (2x2x3)" in str(plan)
    assert "core_0 (2x3x4)" in str(plan)
    assert "core_1 (4x3x2)" in str(plan)
    assert repr(plan) == str(plan)


@pytest.mark.parametrize("name", MARKET)
def test_the_text_has_every_step_and_the_totals(name):
    plan = tnl.plan(MARKET[name], 8, objective="training")
    text = str(plan)
    program = plan.program
    for number, step in enumerate(program.steps):
        parts = [program.indices[k] for k in (*step.registers, program.operands + number)]
        assert f": {plan.contraction.equation(*parts)}" in text
    for operand in plan.contraction.names:
        assert f"{operand} (" in text
    for line in ("total", "dense layer", "x the dense layer's flops", "a training step takes"):
        assert line in text
    assert plan.cost.flops == sum(step.flops for step in plan.steps)
    products = sum(c.flops for s, c in zip(program.steps, plan.steps, strict=True) if isinstance(s, Multiply))
    assert plan.flops == plan.cost.flops + 2 * products  # sums have no arithmetic of their own in the backward pass


def test_equations_of_steps_are_einsum_equations():
    import numpy as np

    plan = tnl.plan(MARKET["ring"], 3)
    c = plan.contraction
    for number, step in enumerate(plan.program.steps):
        parts = [plan.program.indices[k] for k in (*step.registers, plan.program.operands + number)]
        operands = [np.ones([c.sizes[i] for i in part]) for part in parts[:-1]]
        assert np.einsum(c.equation(*parts), *operands).shape == tuple(c.sizes[i] for i in parts[-1])


def test_plans_of_graphs_and_einsums():
    graph = tnl.spec(MPO).graph
    plan = tnl.plan(graph, 4)
    assert plan.dense is None
    assert plan.path == tnl.plan(MPO, 4).path
    assert "dense" not in str(plan)
    f = tnl.from_einsum("ij,jk->ik", [(2, 3), (3, 4)])
    assert f.plan.batch is None
    assert f.plan.cost.flops == 2 * 2 * 3 * 4
    assert tnl.Plan.from_json(f.plan.to_json()) == f.plan


def test_plan_data_for_programs():
    data = tnl.plan(MPO, 16, objective="training").to_dict()
    assert data["flops"] == data["forward"]["flops"] + data["backward"]["flops"]
    assert set(data["forward"]) == {"flops", "bytes", "copied", "kept", "result"}
    assert data["dense_forward"]["flops"] == 2 * 16 * 784 * 256
    assert (data["batch"], data["dtype"], data["features"]) == (16, "float32", (784, 256))


BIG = "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)"


@pytest.mark.parametrize("objective", ["forward", "training"])
def test_a_memory_limit_is_kept_or_refused_with_the_least(objective):
    free = tnl.plan(BIG, 1024, objective=objective)
    tight = tnl.plan(BIG, 1024, objective=objective, memory_limit=free.memory - 1)
    assert tight.memory < free.memory
    assert tight.seconds >= free.seconds
    with pytest.raises(
        tnl.TNLayersError, match=r"memory_limit=1000 bytes: the least that is feasible is \d+ bytes"
    ) as e:
        tnl.plan(BIG, 1024, objective=objective, memory_limit=1000)
    least = int(str(e.value).split("feasible is ")[1].split()[0])
    assert tnl.plan(BIG, 1024, objective=objective, memory_limit=least).memory == least
    with pytest.raises(tnl.TNLayersError, match=f"least that is feasible is {least} bytes"):
        tnl.plan(BIG, 1024, objective=objective, memory_limit=least - 1)


def test_large_layers_train_in_chunks_and_keep_little():
    """4096 x 4096 at batch 128: half of the dense layer's flops, and megabytes where the states would take 34."""
    plan = tnl.plan(BIG, 128, objective="training")
    assert plan.chunk is not None
    assert plan.cost.kept + plan.workspace < 8e6
    assert plan.memory < 8e6
    assert dataclasses.replace(plan, chunk=None).cost.kept > 30e6
    assert f"In chunks of {plan.chunk} rows" in str(plan)
    assert "Backward: " in str(plan)


def test_a_sweep_copies_nothing_large():
    """For a chain, a ring and a tree the state is never permuted: only the small cores are laid out."""
    for text in (BIG, "ring(in=8x8x8, out=8x8x8, bond=4)", "tree(in=8x8x8x8, out=8x8x8x8, bond=4)"):
        plan = tnl.plan(text, 256, objective="training")
        assert plan.sweep is not None
        assert [link.state.order for link in plan.sweep.chain.links] == [None] * len(plan.sweep.chain.links), str(plan)
        assert plan.sweep.chain.arrange is None


def test_one_row_is_copied_rather_than_multiplied_in_a_stack_with_a_large_core():
    plan = tnl.plan("mpo(in=8x16x8, out=8x16x8, bond=16)", 1, objective="training")
    stacks = dataclasses.replace(plan, stacked=True)
    assert [any(link.spread for link in each.sweep.chain.links) for each in (plan, stacks)] == [False, True]
    assert [any(link.state.copies for link in each.sweep.chain.links) for each in (plan, stacks)] == [True, False]
    assert plan.seconds < stacks.seconds
    assert plan.cost.flops == stacks.cost.flops
    assert tnl.Plan.from_json(plan.to_json()) == plan != stacks
    older = json.loads(plan.to_json())
    del older["stacked"]
    assert tnl.Plan.from_json(json.dumps(older)) == stacks


def test_a_rebuilt_weight_is_laid_out_in_long_stretches():
    plan = tnl.plan("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)", 128, objective="training")
    products = [step for step in plan.program.steps if isinstance(step, Multiply)]
    copied = [
        (plan.contraction.elements(plan.program.indices[register]), view.stretch)
        for step in products
        for register, view in (step.left, step.right)
        if view.copies
    ]
    assert max(copied) == (784 * 256, 16)  # the weight, merged so that its copy is cheap; all others are small
    assert sorted(copied)[-2][0] <= 16 * 4 * 4 * 28


def test_short_stretches_take_longer_to_copy():
    machine = Machine()
    assert machine.copy(4096, stretch=64) == machine.copy(4096) == machine.copy(4096, stretch=4) / 4
    assert machine.copy(4096, near=True) < machine.copy(4096)


def test_of_two_mirrored_rebuilds_the_one_that_copies_neighbours_together_is_taken():
    spec, batch = "mpo(in=8x16x8, out=8x16x8, bond=16)", 128
    plan = tnl.plan(spec, batch, objective="training")
    mirrored = dataclasses.replace(plan, path=((2, 3), (1, 4), (0, 5)))
    assert [_weight(each).near for each in (plan, mirrored)] == [True, False]
    assert plan.seconds < mirrored.seconds


def _weight(plan):
    """How the rebuilt weight is brought into the form that multiplies x."""
    last = [step for step in plan.program.steps if isinstance(step, Multiply)][-1]
    (weight,) = [view for _, view in (last.left, last.right) if view.copies]
    return weight


def test_inference_counts_what_is_kept_instead_of_what_is_prepared():
    plan = tnl.plan(MPO, 1024, objective="inference")
    assert len(plan.sweep.chain.links) == 1  # the weight, since it is at hand
    assert plan.prepared == 4 * 784 * 256
    assert "Kept between calls" in str(plan)
    assert plan.seconds < tnl.plan(MPO, 1024).seconds
    large = tnl.plan("mpo(in=16x16x16, out=32x32x32, bond=64)", 8192, objective="inference")
    assert large.prepared == 4 * 4096 * 32768  # more than a layer keeps
    assert "Made anew in every call" in str(large)


def test_paths_take_milliseconds():
    spec = tnl.spec("mpo(in=2x3x2x2x3x2x2x2, out=2x2x3x2x2x2x3x2, bond=4)")
    spec.graph  # noqa: B018
    batches = iter((96, 95, 94))  # no plan is found in a cache
    assert_prompt(lambda: tnl.plan(spec, next(batches), objective="training"), 0.5)  # about 0.04 on an idle machine
