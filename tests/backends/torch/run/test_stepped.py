"""Steps of training as one operation of autograd: values, gradients, and whose memory is whose."""

import gc
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward, oracle_gradients
from specs import MARKET
from tnlayers_backends.torch.run import leased
from torch.utils.checkpoint import checkpoint
from torch_cases import check_derivatives, torch_blames_itself

import tnlayers as tnl
from tnlayers.program import preparing

NAMES = [name for name in MARKET if not name.startswith(("mera", "peps"))]
WITHOUT = {"traced", "repeated"}  # a core is summed, or its diagonal is taken
FEW = ["mpo-4", "mpo-padded", "ring", "cp", "monarch", "tree-5"]


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch):
    """Steps whose memory is next to nothing run so too."""
    monkeypatch.setattr(preparing, "LEAST_BYTES", 0)
    gc.collect()
    leased.release()
    yield
    leased.release()


def one_step(name, chunk=2, dtype="float64", batch=5, optimize="auto", text=None):
    """A layer whose plan runs as one operation."""
    layer = tnl.build(text or MARKET[name], seed=5, dtype=dtype)
    plan = tnl.plan(layer.spec, batch, objective="training", optimize=optimize)
    layer.use_plan(replace(plan, chunk=chunk))
    return layer


def paths(spec):
    """The chosen path, and the batch carried through one core after the other, from either end."""
    n = len(spec.graph.cores)
    yield "auto"
    yield [*((0, 1) for _ in range(n))]  # the weight is rebuilt last
    yield [(0, n), *((0, n - k) for k in range(1, n))]
    yield [*((1, 2) for _ in range(n - 1)), (0, 1)]  # and first


def recorded(y):
    """The names of what autograd has recorded."""
    names, found = set(), [y.grad_fn]
    while found:
        node = found.pop()
        names.add(type(node).__name__)
        found += [up for up, _ in node.next_functions if up is not None]
    return names


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    for optimize in paths(tnl.spec(MARKET[name])):
        layer = one_step(name, optimize=optimize)
        spec = layer.spec
        x, grad_y = inputs(spec, (5,), "float64"), np.random.default_rng(2).standard_normal((5, spec.out_features))
        cores, bias = values(layer)
        leaf = torch.from_numpy(x).requires_grad_()
        y = layer(leaf)
        assert ("_StepBackward" in recorded(y)) == (layer.plan_for(5).preparation is not None)
        y.backward(torch.from_numpy(grad_y))
        assert_close(y, oracle_forward(spec, cores, x, bias), dtype="float64")
        tensors = (leaf, *layer.cores.values(), *([] if bias is None else [layer.bias]))
        for tensor, gradient in zip(tensors, oracle_gradients(spec, cores, x, grad_y), strict=False):
            assert_close(tensor.grad, gradient, dtype="float64")


def test_all_but_sums_and_diagonals_of_cores_run_so():
    without = {name for name in NAMES if one_step(name).plan_for(5).preparation is None}
    assert without <= WITHOUT


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_other_dtypes(name, dtype):
    layer = one_step(name, dtype=dtype)
    cores, bias = values(layer.double())
    layer = one_step(name, dtype=dtype)
    leaf = torch.from_numpy(inputs(layer.spec, (5,), "float32")).to(getattr(torch, dtype)).requires_grad_()
    y = layer(leaf)
    grad_y = torch.ones_like(y)
    y.backward(grad_y)
    numbers = leaf.detach().double().numpy()
    assert_close(y, oracle_forward(layer.spec, cores, numbers, bias), dtype=dtype)
    expected = oracle_gradients(layer.spec, cores, numbers, grad_y.double().numpy())
    for tensor, gradient in zip((leaf, *layer.cores.values()), expected, strict=False):
        assert_close(tensor.grad, gradient, dtype=dtype)


@torch_blames_itself
@pytest.mark.parametrize("name", FEW)
def test_gradients_of_gradients(name):
    check_derivatives(one_step(name))


@pytest.mark.parametrize("name", FEW)
def test_only_what_is_asked_for(name):
    """Each core alone, `x` alone: the gradient is the one of all together, to the bit."""
    layer = one_step(name)
    x = torch.randn(5, layer.in_features, dtype=torch.float64)
    leaves = [x.clone().requires_grad_(), *layer.cores.values()]
    everything = torch.autograd.grad(layer(leaves[0]).square().sum(), leaves)
    for k, expected in enumerate(everything):
        for number, core in enumerate(layer.cores.values()):
            core.requires_grad_(number + 1 == k)
        leaf = x.clone().requires_grad_(k == 0)
        (found,) = torch.autograd.grad(layer(leaf).square().sum(), [leaf, *layer.cores.values()][k])
        assert torch.equal(found, expected)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_other_numbers_of_rows(rows):
    layer, plain = one_step("mpo-4"), tnl.build(MARKET["mpo-4"], seed=5, dtype="float64")
    plain.use_plan(replace(layer.plan_for(5), chunk=None))
    x = torch.randn(rows, layer.in_features, dtype=torch.float64)
    for each in (layer, plain):
        each(x).square().sum().backward()
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def grads(layer, loss, **options):
    return torch.autograd.grad(loss, list(layer.cores.values()), **options)


def test_memory_in_use_is_nobody_elses():
    """Several forward passes before the first backward pass, in any order, and one graph twice."""
    layer = one_step("mpo-4")
    xs = [torch.randn(5, layer.in_features, dtype=torch.float64) for _ in range(4)]
    expected = [grads(layer, layer(x).square().sum()) for x in xs]
    losses = [layer(x).square().sum() for x in xs]
    for k in (2, 0, 3, 1):
        for _ in range(2):
            found = grads(layer, losses[k], retain_graph=True)
            assert all(map(torch.equal, found, expected[k]))
            layer(xs[0]).sum().backward()  # takes and frees memory in between


def test_memory_is_used_again_and_no_more_than_needed():
    layer = one_step("mpo-4")
    x = torch.randn(5, layer.in_features, dtype=torch.float64)

    def waiting():
        return sorted(piece.ctypes.data for piece in leased._WAITING.pieces)

    layer(x).sum().backward()
    gc.collect()
    first = waiting()
    assert len(first) == 1
    for _ in range(20):
        layer(x).sum().backward()
    gc.collect()
    assert waiting() == first
    y = layer(x)
    assert waiting() == []  # in use, as long as the graph is there
    del y
    assert waiting() == first
    leased.release()
    assert waiting() == []


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(leased, "MOST_BYTES", 100)
    like = torch.zeros(1, dtype=torch.float64)
    tensors = [leased.lease(n, like) for n in (5, 6, 7, 30)]
    assert all(tensor.data_ptr() % 64 == 0 for tensor in tensors)
    del tensors
    assert sum(piece.size for piece in leased._WAITING.pieces) <= 100


def test_a_checkpoint_saves_nothing_and_gives_the_same():
    layer = one_step("mpo-4")
    x = torch.randn(5, layer.in_features, dtype=torch.float64)
    expected = grads(layer, layer(x).square().sum())
    leased.release()
    y = checkpoint(layer, x, use_reentrant=False)
    assert len(leased._WAITING.pieces) == 1  # not kept until the backward pass
    found = grads(layer, y.square().sum())
    assert all(map(torch.equal, found, expected))


def test_hooks_of_saved_tensors_see_what_lasts():
    layer = one_step("mpo-4")
    x = torch.randn(5, layer.in_features, dtype=torch.float64)
    expected, seen = grads(layer, layer(x).square().sum()), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.numel()) or t.clone(), lambda t: t):
        loss = layer(x).square().sum()
    assert layer.plan_for(5).preparation.lasting in seen
    assert all(map(torch.equal, grads(layer, loss), expected))


def test_a_core_written_to_in_between_is_refused():
    layer = one_step("mpo-4")
    loss = layer(torch.randn(5, layer.in_features, dtype=torch.float64)).sum()
    with torch.no_grad():
        next(iter(layer.cores.values())).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_threads_have_memory_of_their_own():
    layers = [one_step("mpo-4") for _ in range(4)]
    xs = [torch.randn(5, layer.in_features, dtype=torch.float64) for layer in layers]
    expected = [grads(layer, layer(x).square().sum()) for layer, x in zip(layers, xs, strict=True)]
    wrong = []

    def train(k):
        for _ in range(50):
            found = grads(layers[k], layers[k](xs[k]).square().sum())
            if not all(map(torch.equal, found, expected[k])):
                wrong.append(k)

    threads = [threading.Thread(target=train, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_plans_take_it_where_the_weight_is_large(monkeypatch):
    monkeypatch.undo()
    text = "mpo(in=8x8x8x8, out=8x8x8x8, bond={})"
    large = tnl.plan(text.format(64), 128, objective="training")
    assert large.chunk == 128
    assert 4 * large.preparation.lasting >= preparing.LEAST_BYTES
    assert tnl.plan("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)", 128, objective="training").preparation is None


def test_the_comparison_has_teeth():
    layer = one_step("mpo-4")
    x = inputs(layer.spec, (5,), "float64")
    cores, _ = values(layer)
    y = layer(torch.from_numpy(x))
    y.sum().backward()
    cores[1] = cores[1] * 1.000001
    expected = oracle_gradients(layer.spec, cores, x, np.ones(tuple(y.shape)))
    with pytest.raises(AssertionError):
        assert_close(next(iter(layer.cores.values())).grad, expected[1], dtype="float64")
