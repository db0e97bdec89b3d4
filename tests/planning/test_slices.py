"""Bonds summed in parts: values, gradients, counts and memory of plans that have to keep a limit."""

import re
import tracemalloc
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from absent import framework
from counting import CountingOps, Space, Strided, view_strides
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward, oracle_gradients
from specs import MARKET
from torch_cases import check_derivatives, torch_blames_itself

import tnlayers as tnl
from tnlayers.planning.sliced import sliced_cores
from tnlayers.planning.slices import next_cut, pieces, sliceable
from tnlayers.program.sweep import propagate, propagate_back

torch = framework("torch")

WIDE = "mpo(in=8x8x8, out=8x8x8, bond=64)"
FEW = ["mpo-4", "mpo-padded", "ring", "cp", "monarch", "traced"]


def cuts(contraction):
    """Slices to try: one index in as few parts as it can be cut into, and three value by value."""
    found = sliceable(contraction)
    yield from (((i, next_cut(contraction.sizes[i], 1)),) for i in found[:2])
    if len(found) > 1:
        yield tuple((i, contraction.sizes[i]) for i in found[:3])


def sliced(plan, slices=None, chunk=2):
    """The plan with its first sum in parts, and some rows at a time."""
    return replace(plan, chunk=chunk, slices=slices or next(iter(cuts(plan.contraction)), ()))


@pytest.mark.parametrize("name", [name for name in MARKET if not name.startswith(("mera", "peps"))])
def test_values_and_gradients(name):
    spec = tnl.spec(MARKET[name])
    x, grad_y = inputs(spec, (5,), "float64"), np.random.default_rng(2).standard_normal((5, spec.out_features))
    layer = tnl.build(spec, seed=5, dtype="float64")
    plain = tnl.build(spec, backend="numpy", seed=5, dtype="float64")
    cores, bias = values(layer)
    y_wanted, gradients = oracle_forward(spec, cores, x, bias), oracle_gradients(spec, cores, x, grad_y)
    tensors = (*layer.cores.values(), *([] if bias is None else [layer.bias]))
    n = len(spec.graph.cores)
    for optimize in ("auto", [(0, n), *((0, n - k) for k in range(1, n))]):  # and one core after the other
        plan = tnl.plan(spec, 5, objective="training", optimize=optimize)
        for slices in cuts(plan.contraction):
            for each in (layer, plain):
                each.use_plan(sliced(plan, slices))
            assert_close(plain(x), y_wanted, dtype="float64")
            leaf = torch.from_numpy(x).requires_grad_()
            y = layer(leaf)
            assert_close(y, y_wanted, dtype="float64")
            found = torch.autograd.grad(y, (leaf, *tensors), torch.from_numpy(grad_y))
            for ours, wanted in zip(found, gradients, strict=False):
                assert_close(ours, wanted, dtype="float64")


@torch_blames_itself
@pytest.mark.parametrize("name", FEW)
def test_gradcheck_and_gradgradcheck(name):
    layer = tnl.build(MARKET[name], seed=5, dtype="float64")
    layer.use_plan(sliced(tnl.plan(layer.spec, 3, objective="training")))
    check_derivatives(layer)


@torch_blames_itself
def test_transforms_compilers_and_autocast():
    layer = tnl.build(MARKET["ring"], seed=5)
    plain = tnl.build(MARKET["ring"], seed=5)
    plan = tnl.plan(layer.spec, 6, objective="training")
    layer.use_plan(sliced(plan))
    plain.use_plan(plan)
    x = torch.randn(6, layer.in_features)
    cores, bias = values(layer)
    wanted = oracle_forward(layer.spec, cores, x.numpy(), bias)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for y in (layer(x), torch.func.vmap(layer)(x), compiled(x), layer(x.reshape(2, 3, -1)).reshape(6, -1)):
        assert_close(y, wanted, dtype="float32")
    with torch.no_grad():
        assert_close(layer(x), wanted, dtype="float32")
    assert layer(x[:0]).shape == (0, layer.out_features)
    with torch.autocast("cpu", torch.bfloat16):
        y, z = layer(x), plain(x)
        assert y.dtype is z.dtype is torch.bfloat16
        ours, theirs = (torch.autograd.grad(each(x).sum(), each.core_0)[0] for each in (layer, plain))
    rounding = 6 * 2**-7
    assert (y - z).abs().max() <= rounding * z.abs().max()
    assert (ours - theirs).abs().max() <= rounding * theirs.abs().max()


@pytest.mark.parametrize("name", ["mpo-4", "ring"])
def test_jax(name):
    jax = framework("jax")
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, backend="jax", seed=5)
    plan = tnl.plan(spec, 5, objective="training")
    layer = layer.use_plan(sliced(plan, next(reversed(list(cuts(plan.contraction))))))
    x, grad_y = inputs(spec, (5,), "float32"), np.random.default_rng(2).standard_normal((5, spec.out_features))
    cores = [np.asarray(core) for core in layer.cores.values()]
    y, pull = jax.vjp(jax.jit(lambda layer, x: layer(x)), layer, x)
    assert_close(y, oracle_forward(spec, cores, x), dtype="float32")
    by_layer, by_x = pull(grad_y.astype(np.float32))
    found = (by_x, *by_layer.cores.values())
    for ours, wanted in zip(found, oracle_gradients(spec, cores, x, grad_y), strict=False):
        assert_close(ours, wanted, dtype="float32")
    tangent = jax.jvp(layer.forward_mode(), (x,), (x,))[1]  # linear in x
    assert_close(tangent, oracle_forward(spec, cores, x), dtype="float32")


def strided(shapes):
    return [Strided.new(*shape) for shape in shapes]


def laid_by(ops):
    """Copies what does not lie in memory without gaps, and counts it."""

    def lay(array):
        flat = view_strides(array, (array.size,))
        if flat == (1,):
            return array
        ops.copy_into(array, array)
        return Strided.new(*array.shape)

    return lay


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("name", [*FEW[:-1], "tree-5", "star"])
def test_slices_cost_what_is_stated(name, chunk):
    """What the pieces do is counted; the sums of their results are added by hand."""
    batch, spec = 6, tnl.spec(MARKET[name])
    free = tnl.plan(spec, batch, objective="training")
    c = free.contraction
    shapes = [[c.sizes[i] for i in indices] for indices in c.operands]
    rows_of = [min(chunk, batch - start) for start in range(0, batch, chunk)]
    for slices in cuts(c):
        plan = sliced(free, slices, chunk)
        count, sweep, forward, backward = pieces(slices), plan.sweep, CountingOps(), CountingOps()
        before, after = sweep.chain.links[0].before, sweep.chain.links[-1].after
        for own in sliced_cores(plan, strided(shapes[1:]), laid_by(forward)):
            matrices = sweep.chain.prepare(forward, plan.program, own)
            for rows in rows_of:
                x, y = Strided.new(rows, before), Strided.new(rows, after)
                propagate(forward, sweep, x, matrices, Space(rows, sweep.forward), y)
        added = (count - 1) * batch * after
        assert forward.flops + added == plan.cost.flops
        assert forward.bytes + 12 * added == plan.cost.bytes
        assert forward.copied == plan.cost.copied
        for own in sliced_cores(plan, strided(shapes[1:]), laid_by(backward)):
            matrices = sweep.chain.prepare(backward, plan.program, own)
            for rows in rows_of:
                x, gy = Strided.new(rows, before), Strided.new(rows, after)
                totals = strided(matrix.shape for matrix in matrices)
                propagate_back(backward, sweep, x, matrices, Space(rows, sweep.both), gy, x, totals)
        added = (count - 1) * batch * before + count * sum(prod(core) for core in _piece(plan))
        merged = [plan.program.steps[number] for number in sweep.chain.prepared]  # autograd takes these back
        assert backward.flops + added + count * sum(4 * prod(step.sizes) for step in merged) == plan.backward.flops
        if not merged:
            assert backward.bytes + 12 * added == plan.backward.bytes
            assert backward.copied == plan.backward.copied
        assert plan.seconds > 0
        assert tnl.Plan.from_json(plan.to_json()) == plan


def _piece(plan):
    return [[plan.part.sizes[i] for i in indices] for indices in plan.contraction.operands[1:]]


def least(spec, batch, **options):
    with pytest.raises(tnl.TNLayersError) as refused:
        tnl.plan(spec, batch, memory_limit=1, **options)
    return int(re.search(r"feasible is (\d+) bytes", str(refused.value))[1])


@pytest.mark.parametrize("objective", ["forward", "training", "inference"])
@pytest.mark.parametrize("spec", [WIDE, "ring(in=8x8x8, out=8x8x8, bond=16)", "cp(in=8x8x8, out=8x8x8, rank=64)"])
@pytest.mark.parametrize("batch", [1, 64])
def test_slices_keep_limits_that_single_rows_do_not(spec, objective, batch):
    free = tnl.plan(spec, batch, objective=objective)
    found = least(spec, batch, objective=objective)
    tight = tnl.plan(spec, batch, objective=objective, memory_limit=found)
    assert tight.memory == found
    assert tight.slices
    whole = replace(tight, slices=())  # one row at a time along the same path
    assert whole.memory > 2 * found
    assert tight.flops > whole.flops
    assert tight.seconds > free.seconds
    assert f"{pieces(tight.slices)} parts" in str(tight)
    assert "Kept between calls" not in str(tight)  # pieces prepare their cores in every call
    with pytest.raises(tnl.TNLayersError, match=f"feasible is {found} bytes"):
        tnl.plan(spec, batch, objective=objective, memory_limit=found - 1)
    between = tnl.plan(spec, batch, objective=objective, memory_limit=8 * found)
    assert between.memory <= 8 * found
    assert between.seconds < tight.seconds


def test_without_a_limit_nothing_is_sliced():
    assert tnl.plan(WIDE, 1, objective="training").slices == ()


def test_numpy_stays_within_the_memory_that_is_stated():
    spec = tnl.spec("mpo(in=16x16x16, out=16x16x16, bond=64)")
    layer = tnl.build(spec, backend="numpy", seed=0)
    x = inputs(spec, (64,), "float32")
    free = tnl.plan(spec, 64, objective="forward")
    for limit in (free.memory // 4, free.memory // 40):
        plan = tnl.plan(spec, 64, objective="forward", memory_limit=limit)
        assert plan.slices
        layer.use_plan(plan)
        layer(x)
        tracemalloc.start()
        y = layer(x)
        peak = tracemalloc.get_traced_memory()[1] - y.nbytes
        tracemalloc.stop()
        assert peak <= plan.memory + 2**15  # and the interpreter's own objects
        assert_close(y, oracle_forward(spec, values(layer)[0], x), dtype="float32")


def test_torch_trains_within_the_memory_that_is_stated():
    spec = tnl.spec("mpo(in=16x16x16, out=16x16x16, bond=64)")
    layer = tnl.build(spec, seed=0)
    plan = tnl.plan(spec, 16, objective="training", memory_limit=2**22)
    layer.use_plan(plan)
    assert plan.slices
    leaves = [torch.randn(16, 4096, requires_grad=True), *layer.parameters()]
    own = sum(leaf.nbytes for leaf in leaves) + 16 * 4096 * 4  # gradients, and the output
    grad_y = torch.ones(16, 4096)

    def step():
        torch.autograd.grad(layer(leaves[0]), leaves, grad_y)

    step()
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    live = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert peak <= own + plan.memory
    assert replace(plan, slices=()).memory > 8 * plan.memory


def test_an_input_axis_that_no_core_has_is_summed_first_and_nothing_is_chunked():
    net = tnl.Declaration()
    core = net.core("core", inp=4, free=64, out=3)
    other = net.core("other", free=64)
    core["free"] ^ other["free"]
    graph = net.linear(inputs=[core["inp"]], outputs=[core["out"]])
    with pytest.raises(tnl.TNLayersError, match=r"feasible is \d+ bytes"):
        tnl.plan(graph, 8, memory_limit=1)


def test_other_slices_are_refused():
    plan = tnl.plan(WIDE, 4, objective="training")
    bond = sliceable(plan.contraction)[0]
    for slices, chunk in (((bond, 3),), 2), (((bond, 2),), None), (((0, 2), (0, 2)), 2), (((99, 2),), 2):
        with pytest.raises(tnl.TNLayersError, match="equal parts"):
            replace(plan, slices=slices, chunk=chunk)


def test_the_comparison_has_teeth():
    layer = tnl.build(WIDE, seed=0, dtype="float64")
    plan = sliced(tnl.plan(layer.spec, 4, objective="training"))
    x = inputs(layer.spec, (4,), "float64")
    layer.use_plan(replace(plan))
    cores, _ = values(layer)
    wanted = oracle_forward(layer.spec, cores, x)
    assert_close(layer(torch.from_numpy(x)), wanted, dtype="float64")
    with torch.no_grad():
        layer.core_1[0] *= 1.000001  # within the first part only
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer(torch.from_numpy(x)), wanted, dtype="float64")
