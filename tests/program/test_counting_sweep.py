"""Stated costs of chunks and of the backward pass are exact: counted by a backend of shapes, by torch, and in bytes."""

from dataclasses import replace
from math import prod

import pytest
import torch
from counting import CountingOps, Space, Strided, operands, takes_blas
from specs import LARGER, MARKET
from torch.utils.flop_counter import FlopCounterMode
from torch_cases import run_watched

import tnlayers as tnl
from tnlayers.pricing.counts import chain_backward_cost, chunks
from tnlayers.program.program import Multiply
from tnlayers.program.sweep import propagate, propagate_back

BATCH = 6
NAMES = ["mpo-1", "mpo-3", "mpo-ones", "mpo-padded", "ladder", "ring", "star", "cp", "blocks", "monarch", "three-open"]
NAMES += ["traced", "repeated", "block-term-3", "mera-4"]
ROWS = [pytest.param(MARKET[name], id=name) for name in NAMES] + [pytest.param(LARGER[0], id="paper")]


def chunked(text, chunk, optimize="auto"):
    plan = tnl.plan(text, BATCH, objective="training", optimize=optimize)
    return replace(plan, chunk=chunk)


def paths(text):
    """The chosen path, greedy's, and the batch carried through one core after the other, from either end."""
    n = len(tnl.spec(text).graph.cores)
    yield from ("auto", "greedy")
    yield [(0, n), *((0, n - k) for k in range(1, n))]  # results go to the end of the list of operands
    yield [(0, 1), *((0, n - k) for k in range(1, n))]


def parts(shape, chunk):
    """The rows of each chunk."""
    return [min(chunk, shape - start) for start in range(0, shape, chunk)]


@pytest.mark.parametrize("chunk", [1, 4, 6])
@pytest.mark.parametrize("text", ROWS)
def test_chunks_cost_what_is_stated(text, chunk):
    for optimize in paths(text):
        plan = chunked(text, chunk, optimize)
        ops, sweep, (x, *cores) = CountingOps(), plan.sweep, operands(plan)
        matrices = sweep.chain.prepare(ops, plan.program, cores)
        for rows in parts(BATCH, chunk):
            some, y = Strided.new(rows, x.size // BATCH), Strided.new(rows, sweep.chain.links[-1].after)
            propagate(ops, sweep, some, matrices, Space(rows, sweep.forward), y)
        stated = plan.cost
        assert (ops.flops, ops.bytes, ops.copied) == (stated.flops, stated.bytes, stated.copied), str(plan)
        if chunk > 1:  # stacks of single rows may be copied: the plan is for more
            assert all(takes_blas(operand) for product in ops.products for operand in product), str(plan)


@pytest.mark.parametrize("chunk", [1, 4, 6])
@pytest.mark.parametrize("text", ROWS)
def test_the_way_back_costs_what_is_stated(text, chunk):
    for optimize in paths(text):
        plan = chunked(text, chunk, optimize)
        sweep, (x, *cores) = plan.sweep, operands(plan)
        matrices = sweep.chain.prepare(CountingOps(), plan.program, cores)
        ops = CountingOps()
        for rows in parts(BATCH, chunk):
            some = Strided.new(rows, x.size // BATCH)
            gy = Strided.new(rows, sweep.chain.links[-1].after)
            totals = [Strided.new(*matrix.shape) for matrix in matrices]
            propagate_back(ops, sweep, some, matrices, Space(rows, sweep.both), gy, some, totals)
        count = chunks(plan.contraction, chunk)
        stated = chain_backward_cost(sweep.chain, BATCH, count, again=True, itemsize=4)
        assert (ops.flops, ops.bytes, ops.copied) == (stated.flops, stated.bytes, stated.copied), str(plan)
        if chunk > 1:  # stacks of single rows may be copied: the plan is for more
            assert all(takes_blas(operand) for product in ops.products for operand in product), str(plan)


def test_counts_by_hand():
    """x (6, 2*3) through the 2-core mpo of modes 2x3 -> 3x2, bond 4, one core after the other, 2 rows at a time:

    x (2*2, 3) @ core_1 (3, 4*2) -> (2, 2, 4*2): 2*4*3*8 = 192 flops a chunk; core_1 (r i o) laid out as (i, r o)
    core_0 (3, 2*4) @ (2, 2*4, 2) -> (2, 3, 2): 2*2*3*8*2 = 192 flops a chunk; core_0 (i o r) laid out as (o, i r)

    Backward: the first product again; each gradient of a core and each of a state as much as its product.
    """
    plan = replace(tnl.plan("mpo(in=2x3, out=3x2, bond=4)", 6, optimize=[(0, 2), (0, 1)]), chunk=2)
    assert [link.spread for link in plan.sweep.chain.links] == [False, True]
    assert plan.cost.flops == 3 * (192 + 192)
    assert plan.backward.flops == 3 * (192 + 4 * 192)
    state = 2 * 4 * 2
    assert plan.sweep.forward == state
    assert plan.workspace == 4 * 2 * state
    # Kept: both cores as they were laid out, and no state.
    assert plan.cost.kept == 4 * (24 + 24)
    assert plan.prepared == plan.cost.kept


# As torch counts.


def adds(total_shape, left_shape, right_shape, *_, out_shape=None, **__):
    return 2 * prod(left_shape) * right_shape[-1]


MAPPING = {torch.ops.aten.addbmm_: adds, torch.ops.aten.addmm_: adds, torch.ops.aten.baddbmm_: adds}


@pytest.mark.parametrize("optimize", ["auto", "greedy"])
@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("text", ROWS)
def test_flops_of_training_are_those_torch_counts(text, chunk, optimize):
    layer = tnl.build(text, seed=0)
    plan = chunked(text, chunk, optimize)
    layer.use_plan(plan)
    x = torch.randn(BATCH, layer.in_features, requires_grad=True)
    sums = sum(c.flops for s, c in zip(plan.program.steps, plan.steps, strict=True) if not isinstance(s, Multiply))
    with FlopCounterMode(display=False, custom_mapping=MAPPING) as forward:
        y = layer(x)
    with FlopCounterMode(display=False, custom_mapping=MAPPING) as backward:
        y.sum().backward()
    assert forward.get_total_flops() == plan.cost.flops - sums
    assert backward.get_total_flops() == plan.backward.flops


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("text", ROWS)
def test_kept_is_what_autograd_saves(text, chunk):
    layer = tnl.build(text, seed=0)
    plan = chunked(text, chunk)
    layer.use_plan(plan)
    x = torch.randn(BATCH, layer.in_features, requires_grad=True)
    y, saved = run_watched(layer, x)
    # x with its zeros is of the layer, not of the program; kept unless a copy of it is.
    padded = 4 * BATCH * prod(layer.spec.in_modes) if layer.spec.pad_in else 0
    if chunk is None and plan.sweep.chain.links[0].state.copies:
        padded = 0
    assert saved == plan.cost.kept + padded
    assert y.grad_fn is not None


def test_the_counts_have_teeth():
    plan = chunked(LARGER[0], 4)
    ops, sweep, (x, *cores) = CountingOps(), plan.sweep, operands(plan)
    matrices = sweep.chain.prepare(ops, plan.program, cores)
    for rows in parts(BATCH, 3):  # other chunks than stated
        some, y = Strided.new(rows, x.size // BATCH), Strided.new(rows, sweep.chain.links[-1].after)
        propagate(ops, sweep, some, matrices, Space(rows, sweep.forward), y)
    assert ops.bytes == replace(plan, chunk=3).cost.bytes
    assert replace(plan, chunk=2).cost.bytes != ops.bytes
    with pytest.raises(AssertionError, match="outside"):
        propagate(ops, sweep, x, matrices, Space(BATCH, sweep.forward - 1), Strided.new(BATCH, 256))
