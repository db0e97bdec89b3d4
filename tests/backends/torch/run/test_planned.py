"""Chunks and the planned backward pass on torch: values, gradients, and everything that torch does to a layer."""

import gc
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward, oracle_gradients
from specs import MARKET, SUMS
from tnlayers_backends.torch.run import workspace
from torch_cases import check_derivatives, torch_blames_itself

import tnlayers as tnl

NAMES = [name for name in MARKET if not name.startswith(("mera", "peps"))]
FEW = ["mpo-4", "mpo-padded", "ring", "cp", "monarch", "traced"]


def chunked(name, chunk=2, dtype="float64", batch=5, **options):
    """A layer that walks every batch in chunks."""
    layer = tnl.build((MARKET | SUMS)[name], seed=5, dtype=dtype)
    plan = tnl.plan(layer.spec, batch, objective="training", **options)
    layer.use_plan(in_chunks(plan, chunk))
    return layer


def in_chunks(plan, chunk):
    if isinstance(plan, tnl.Plan):
        return replace(plan, chunk=chunk)
    return replace(plan, terms=tuple(in_chunks(term, chunk) for term in plan.terms))


def sweeps_of(spec):
    """The chosen path, and the batch carried through one core after the other, from either end."""
    n = len(spec.graph.cores)
    yield "auto"
    yield [(0, n), *((0, n - k) for k in range(1, n))]
    yield [(0, 1), *((0, n - k) for k in range(1, n))]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    for optimize in sweeps_of(tnl.spec(MARKET[name])):
        compare(chunked(name, optimize=optimize))


def compare(layer):
    """The layer's values and gradients with those of the oracle."""
    spec = layer.spec
    x, grad_y = inputs(spec, (5,), "float64"), np.random.default_rng(2).standard_normal((5, spec.out_features))
    cores, bias = values(layer)
    leaf = torch.from_numpy(x).requires_grad_()
    y = layer(leaf)
    y.backward(torch.from_numpy(grad_y))
    assert_close(y, oracle_forward(spec, cores, x, bias), dtype="float64")
    with torch.no_grad():
        assert torch.equal(layer(leaf), y)
    tensors = (leaf, *layer.cores.values(), *([] if bias is None else [layer.bias]))
    for tensor, gradient in zip(tensors, oracle_gradients(spec, cores, x, grad_y), strict=False):
        assert_close(tensor.grad, gradient, dtype="float64")


@pytest.mark.parametrize("name", FEW)
def test_programs_without_stacks(name):
    layer = chunked(name, optimize=[*sweeps_of(tnl.spec(MARKET[name]))][-1])
    for chunk in (None, 2):
        plan = replace(layer.plan_for(5), chunk=chunk, stacked=False)
        assert not any(link.spread for link in plan.sweep.chain.links)
        layer.use_plan(plan)
        layer.zero_grad()
        compare(layer)


@pytest.mark.parametrize("name", [*FEW, "sum-bias"])
def test_it_is_the_function_that_runs_and_autograd_agrees(name):
    layer, plain = chunked(name), tnl.build((MARKET | SUMS)[name], seed=5, dtype="float64")
    plain.use_plan(in_chunks(tnl.plan(layer.spec, 5), None))
    x = torch.randn(2, 3, layer.in_features, dtype=torch.float64)
    grads = []
    for each in (layer, plain):
        leaf = x.clone().requires_grad_()
        y = each(leaf)
        names, found = set(), [y.grad_fn]
        while found:
            node = found.pop()
            names.add(type(node).__name__)
            found += [up for up, _ in node.next_functions if up is not None]
        assert ("_CarryBackward" in names) == (each is layer)
        grads.append([y, *torch.autograd.grad(y.square().sum(), [leaf, *each.parameters()])])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@torch_blames_itself
@pytest.mark.parametrize("name", FEW)
def test_gradcheck_and_gradgradcheck(name):
    check_derivatives(chunked(name))


@torch_blames_itself
def test_function_transforms():
    layer = chunked("mpo-4")
    plain = tnl.build(MARKET["mpo-4"], seed=5, dtype="float64")
    plain.use_plan(tnl.plan(layer.spec, 1))
    x = torch.randn(5, layer.in_features, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    tangent = {name: torch.randn_like(p) for name, p in parameters.items()}

    def outcomes(layer):
        def call(parameters, x):
            return torch.func.functional_call(layer, parameters, (x,))

        def loss(parameters, x):
            return call(parameters, x).square().sum()

        yield torch.func.vmap(layer)(x)
        yield torch.func.grad(loss)(parameters, x)
        yield torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)  # per-sample gradients
        yield torch.func.jvp(lambda p: call(p, x), (parameters,), (tangent,))
        yield torch.func.jvp(lambda x: call(parameters, x), (x,), (x + 1,))
        yield torch.func.jacrev(lambda x: call(parameters, x))(x[0])
        yield torch.func.hessian(lambda x: loss(parameters, x))(x[0])
        stacked = {name: torch.stack([p, p + 1]) for name, p in parameters.items()}
        yield torch.func.vmap(call, in_dims=(0, None))(stacked, x)
        with torch.no_grad():
            inferred = torch.func.vmap(layer)(x)
        yield inferred

    for ours, theirs in zip(outcomes(layer), outcomes(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mpo-4", "cp"])
def test_compiled_code_takes_plain_operations(name):
    torch._dynamo.reset()
    layer = chunked(name, dtype="float32")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (3, 8):
        x = torch.randn(batch, layer.in_features, requires_grad=True)
        cores, bias = values(layer)
        y = compiled(x)
        assert_close(y, oracle_forward(layer.spec, cores, x.detach().numpy(), bias), dtype="float32")
        ours, theirs = (torch.autograd.grad(each(x).square().sum(), x) for each in (compiled, layer))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["mpo-4", "ring", "monarch"])
def test_autocast(name):
    layer = chunked(name, dtype="float32")
    x = torch.randn(6, layer.in_features, requires_grad=True)
    y_exact = layer(x)
    exact = torch.autograd.grad(y_exact.sum(), [x, *layer.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype is torch.bfloat16
    ours = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    for found, wanted in zip((y, *ours), (y_exact, *exact), strict=True):
        rounding = 2**-7 * wanted.abs().max() * 6  # of each product's operands, a few in a row
        assert (found - wanted).abs().max() <= rounding
    assert {g.dtype for g in ours} == {torch.float32}


def test_only_what_is_asked_for_is_computed():
    layer = chunked("mpo-4", optimize=[(0, 4), (0, 3), (0, 2), (0, 1)])
    x = torch.randn(5, layer.in_features, dtype=torch.float64, requires_grad=True)
    everything = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    first, *rest = layer.parameters()
    for frozen in ([first], rest):
        for parameter in layer.parameters():
            parameter.requires_grad_(not any(parameter is other for other in frozen))
        wanted = [p for p in layer.parameters() if p.requires_grad]
        some = torch.autograd.grad(layer(x.detach()).square().sum(), wanted)
        known = [g for g, p in zip(everything[1:], layer.parameters(), strict=True) if p.requires_grad]
        for ours, theirs in zip(some, known, strict=True):
            torch.testing.assert_close(ours, theirs)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(layer(x).square().sum(), x), everything[:1])


@pytest.mark.parametrize("leading", [(), (0,), (1,), (7,), (2, 0, 3), (2, 3)])
def test_any_batch(leading):
    layer = chunked("mpo-bias", dtype="float32", chunk=3)
    x = inputs(layer.spec, leading, "float32")
    cores, bias = values(layer)
    leaf = torch.from_numpy(x).requires_grad_()
    y = layer(leaf)
    assert_close(y, oracle_forward(layer.spec, cores, x, bias), dtype="float32")
    y.sum().backward()  # an expanded gradient
    assert leaf.grad.shape == leaf.shape
    assert layer(torch.from_numpy(x).to("meta")).shape == y.shape if False else True


def test_inference_mode_and_training_take_turns():
    layer = chunked("mpo-4", dtype="float32")
    x = torch.randn(5, layer.in_features)
    y = layer(x).detach()
    with torch.inference_mode():
        assert torch.equal(layer(x), y)
    layer(x).sum().backward()
    with torch.no_grad():
        assert torch.equal(layer(x), y)


def test_checkpointed_layers():
    layer = chunked("mpo-4")
    x = torch.randn(5, layer.in_features, dtype=torch.float64, requires_grad=True)
    plain = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    for reentrant in (False, True):
        y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=reentrant)
        y.square().sum().backward()
        for tensor, gradient in zip([x, *layer.parameters()], plain, strict=True):
            torch.testing.assert_close(tensor.grad, gradient)
            tensor.grad = None


def test_threads_do_not_share_memory():
    layer = chunked("mpo-4", batch=64, chunk=3)
    xs = [torch.randn(64, layer.in_features, dtype=torch.float64) for _ in range(3)]
    expected = [torch.autograd.grad(layer(x).square().sum(), layer.core_0)[0] for x in xs]
    wrong = []

    def work(x, gradient):
        for _ in range(20):
            found = torch.autograd.grad(layer(x).square().sum(), layer.core_0)[0]
            if not torch.allclose(found, gradient):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(xs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_memory_is_used_again_and_nothing_leaks():
    layer = chunked("mpo-4", dtype="float32", chunk=3)
    x = torch.randn(5, layer.in_features, requires_grad=True)

    def tensors():
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of objects that warn when they are looked at
            return sum(isinstance(o, torch.Tensor) for o in gc.get_objects())

    def steps(count):
        for _ in range(count):
            layer(x).sum().backward()
            with torch.no_grad():
                layer(x)

    steps(3)
    held, before = workspace.buffer(1, x).data_ptr(), tensors()
    steps(10_000)
    assert workspace.buffer(1, x).data_ptr() == held
    assert tensors() <= before
    layer.use_plan(in_chunks(layer.plan_for(5), 4))
    steps(1)  # more rows: a larger buffer replaces the smaller one
    assert tensors() <= before


def test_large_memory_is_let_go_of(monkeypatch):
    workspace.release()
    monkeypatch.setattr(workspace, "MOST_BYTES", 8)
    x = torch.zeros(1)
    assert workspace.buffer(3, x).numel() == 3
    assert workspace._KEPT.buffers == {}
    workspace.buffer(2, x)
    assert len(workspace._KEPT.buffers) == 1
    workspace.release()
    assert workspace._KEPT.buffers == {}


def test_the_comparison_has_teeth():
    layer = chunked("mpo-4")
    x = inputs(layer.spec, (5,), "float64")
    cores, _ = values(layer)
    layer(torch.from_numpy(x)).sum().backward()
    cores[1] = cores[1] * 1.000001
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer.core_0.grad, oracle_gradients(layer.spec, cores, x, np.ones((5, 16)))[1], dtype="float64")
