"""Stated costs are exact: a backend of shapes and strides counts what programs do; torch counts the backward pass."""

import warnings
from dataclasses import replace
from math import prod

import numpy as np
import opt_einsum
import pytest
from absent import framework
from counting import CountingOps, Strided, takes_blas, view_strides
from hypothesis import given
from hypothesis import strategies as st
from specs import LARGER, MARKET
from torch_cases import run_watched

import tnlayers as tnl
from tnlayers.cores.linear_map import LinearMap
from tnlayers.pricing.counts import step_costs
from tnlayers.program.program import Multiply, Reduce

torch = framework("torch")

BATCHES = (1, 2, 7, 128)


def counted(plan, itemsize=4):
    ops = CountingOps(itemsize)
    contraction = plan.contraction
    operands = [Strided.new(*(contraction.sizes[i] for i in indices)) for indices in contraction.operands]
    result = plan.program.run(ops, operands)
    assert result.shape == tuple(contraction.sizes[i] for i in contraction.output)
    return ops


def assert_counts(plan, itemsize=4):
    ops, stated = counted(plan, itemsize), plan.cost
    assert (ops.flops, ops.bytes, ops.copied) == (stated.flops, stated.bytes, stated.copied), str(plan)
    for operand in (operand for product in ops.products for operand in product):
        assert takes_blas(operand), f"{operand} would be copied inside the product:\n{plan}"


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", MARKET)
def test_stated_costs_are_counted_costs(name, batch):
    spec = tnl.spec(MARKET[name])
    for objective in ("forward", "training"):
        assert_counts(tnl.plan(spec, batch, objective=objective))
    for optimize in ("greedy", "dp", "branch-1", "optimal" if len(spec.graph.cores) < 6 else "eager"):
        assert_counts(tnl.plan(spec, batch, optimize=optimize))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("text", LARGER)
def test_stated_costs_of_larger_layers(text, batch):
    for dtype, itemsize in (("float32", 4), ("float64", 8), ("bfloat16", 2)):
        assert_counts(tnl.plan(text, batch, objective="training", dtype=dtype), itemsize)
    for optimize in ("greedy", "dp", opt_einsum.DynamicProgramming(minimize="write")):
        assert_counts(tnl.plan(text, batch, optimize=optimize))


@given(st.data())
def test_stated_costs_on_any_path(data):
    """Random trees of a random row: layouts that no optimizer would ask for."""
    spec = tnl.spec(MARKET[data.draw(st.sampled_from(sorted(MARKET)))])
    path = []
    for alive in range(len(spec.graph.cores) + 1, 1, -1):
        first = data.draw(st.integers(0, alive - 2))
        path.append((first, data.draw(st.integers(first + 1, alive - 1))))
    assert_counts(tnl.plan(spec, data.draw(st.sampled_from(BATCHES)), optimize=path))


def test_the_layer_runs_nothing_beside_the_program_and_the_padding():
    spec = tnl.spec(MARKET["mpo-padded"])
    cores = [Strided.new(*shape) for shape in spec.graph.shapes.values()]
    layer, ops = LinearMap(spec), CountingOps()
    plan = layer.plan_for(8)
    y = layer.apply(ops, Strided.new(2, 4, spec.in_features), cores, plan)
    assert y.shape == (2, 4, spec.out_features)
    entries = 8 * (2 * spec.in_features + spec.pad_in)  # reads x, writes it with the zeros behind
    assert ops.bytes == plan.cost.bytes + 4 * entries
    assert ops.flops == plan.cost.flops


def test_counts_by_hand():
    """x (5, 6) times the 2-core mpo of modes 2x3 -> 3x2, bond 4, weight rebuilt first:

    a (2*3, 4) @ b (4, 3*2): 2*6*4*6 = 288 flops, 24 + 24 + 36 entries
    w (i j k l) -> (i k, j l): copied, 36 read and written
    x (5, 6) @ w (6, 6): 2*5*6*6 = 360 flops, 30 + 36 + 30 entries
    """
    plan = tnl.plan("mpo(in=2x3, out=3x2, bond=4)", 5, optimize=[(1, 2), (0, 1)])
    assert (plan.cost.flops, plan.cost.bytes, plan.cost.copied) == (648, 4 * (84 + 96 + 72), 4 * 72)
    assert_counts(plan)


def test_a_stack_of_matrices_with_the_stack_innermost_is_no_operand_of_blas():
    ops = CountingOps()
    inner = ops.permute(Strided.new(3, 4, 5), (2, 0, 1))  # (5, 3, 4), strides (1, 20, 5)
    assert not takes_blas(inner)
    assert takes_blas(ops.permute(Strided.new(3, 4, 5), (0, 2, 1)))


def test_the_count_has_teeth():
    """Costs of a program that copies less, sums less or multiplies less than it runs are found out."""
    plan = tnl.plan("mpo(in=2x3, out=3x2, bond=4)", 5, optimize=[(1, 2), (0, 1)])
    (first, second), total = plan.program.steps, counted(plan)
    left, view = second.right if second.right[1].copies else second.left
    assert view.copies
    hidden = replace(view, copies=False)
    side = {"right": (left, hidden)} if second.right[1].copies else {"left": (left, hidden)}
    for wrong in (replace(second, **side), replace(second, sizes=(1, 5, 6, 5))):
        program = replace(plan.program, steps=(first, wrong))
        costs = step_costs(program, plan.contraction, 4)
        assert (total.flops, total.bytes) != (sum(c.flops for c in costs), sum(c.bytes for c in costs))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_the_counting_backend_copies_where_numpy_does(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    array = np.zeros(shape).transpose(order)
    left, new = array.size, []
    while left > 1 and len(new) < 4:
        new.append(data.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
        left //= new[-1]
    new.append(left)
    mine = Strided(array.shape, tuple(s // array.itemsize for s in array.strides))
    assert (view_strides(mine, new) is None) == (not np.shares_memory(array.reshape(new), array))


# The backward pass, as torch counts it.


def differentiable(name, batch):
    spec = tnl.spec(MARKET.get(name, name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = tnl.build(spec, seed=0)
    return spec, layer, torch.randn(batch, spec.in_features, requires_grad=True)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", [*MARKET, *LARGER[:2]])
def test_flops_of_training_are_those_torch_counts(name, batch):
    spec, layer, x = differentiable(name, batch)
    plan = tnl.plan(spec, batch, objective="training")
    layer.use_plan(plan)
    pairs = zip(plan.program.steps, plan.steps, strict=True)
    products = sum(cost.flops for step, cost in pairs if isinstance(step, Multiply))
    counter = framework("torch.utils.flop_counter").FlopCounterMode
    with counter(display=False) as forward:
        y = layer(x)
    with counter(display=False) as backward:
        y.sum().backward()
    assert forward.get_total_flops() == products
    assert backward.get_total_flops() == 2 * products
    if not any(isinstance(step, Reduce) for step in plan.program.steps):
        assert plan.flops == forward.get_total_flops() + backward.get_total_flops()


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", [*MARKET, *LARGER[:2]])
def test_kept_is_what_autograd_saves(name, batch):
    spec, layer, x = differentiable(name, batch)
    plan = tnl.plan(spec, batch, objective="training")
    layer.use_plan(plan)
    y, saved = run_watched(layer, x)
    # x with its zeros is the layer's, not the program's; autograd keeps it unless the program reads a copy of it.
    kept_whole = any((r, v.copies) == (0, False) for step in plan.program.steps for r, v in _operands(step))
    padded = 4 * batch * prod(spec.in_modes) if spec.pad_in and kept_whole else 0
    assert saved == plan.cost.kept + padded
    assert y.grad_fn is not None


def _operands(step):
    return (step.left, step.right) if isinstance(step, Multiply) else ()
