"""Layers on a GPU: values and gradients against the oracle, autocast, captured graphs, compilation, moves, rates."""

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from layer_arrays import inputs, values  # noqa: E402
from oracle import assert_close, oracle_forward, oracle_gradients  # noqa: E402
from specs import MARKET  # noqa: E402
from tnlayers_backends.torch.measure import cuda as rates_cuda  # noqa: E402
from tnlayers_backends.torch.run import workspace  # noqa: E402
from tnlayers_backends.torch.run.device import device_name  # noqa: E402

import tnlayers as tnl  # noqa: E402
from tnlayers.bench import calibration  # noqa: E402
from tnlayers.machine import rates, saved_rates  # noqa: E402

FEW = ["mpo-4", "mpo-padded", "ring", "cp", "monarch", "traced"]
WIDE = "mpo(in=4x4x4x4, out=4x4x4x4, bond=8)"


@pytest.fixture(autouse=True)
def _exact():
    """Single precision is single here."""
    torch.backends.cuda.matmul.allow_tf32 = False


def on_gpu(spec, dtype="float32", chunk=None, batch=5):
    layer = tnl.build(spec, seed=5, dtype=dtype).cuda()
    plan = tnl.plan(layer.spec, batch, objective="training", device=device_name("cuda"))
    if chunk is not None:
        layer.use_plan(replace(plan, chunk=chunk))
    return layer


def on_cpu(layer):
    """Cores and bias for the oracle."""
    return values(copy.deepcopy(layer).cpu().double())


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("name", FEW)
def test_values_and_gradients(name, chunk, dtype):
    spec = tnl.spec(MARKET[name])
    layer = on_gpu(spec, dtype, chunk)
    x = torch.from_numpy(inputs(spec, (5,), "float64")).to("cuda", getattr(torch, dtype)).requires_grad_()
    grad_y = torch.from_numpy(np.random.default_rng(2).standard_normal((5, spec.out_features))).to(x)
    cores, bias = on_cpu(layer)
    y = layer(x)
    y.backward(grad_y)
    x64, grad64 = x.detach().cpu().double().numpy(), grad_y.cpu().double().numpy()
    assert_close(y.detach().cpu(), oracle_forward(spec, cores, x64, bias), dtype=dtype)
    with torch.no_grad():
        assert_close(layer(x).cpu(), oracle_forward(spec, cores, x64, bias), dtype=dtype)
    tensors = (x, *layer.cores.values())
    for tensor, gradient in zip(tensors, oracle_gradients(spec, cores, x64, grad64), strict=False):
        assert_close(tensor.grad.cpu(), gradient, dtype=dtype)


@pytest.mark.parametrize("chunk", [None, 2])
def test_autocast(chunk):
    layer = on_gpu(WIDE, chunk=chunk)
    x = torch.randn(5, layer.in_features, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(core.grad.dtype == torch.float32 for core in layer.cores.values())
    cores, bias = on_cpu(layer)
    assert_close(y.detach().cpu(), oracle_forward(layer.spec, cores, x.cpu().numpy(), bias), dtype="bfloat16")


def test_plans_are_those_of_the_device_and_moves_renew_them():
    layer = tnl.build(WIDE)
    assert layer.plan_for(128, "training").device == "cpu"
    layer.cuda()
    there = layer.plan_for(128, "training")
    assert there.device == device_name("cuda") != "cpu"
    assert tnl.nn.TNLinear(256, 256, network="mpo", device="cuda").plan_for(128).device == there.device
    x = torch.randn(3, 256, device="cuda")
    y = layer(x)
    torch.testing.assert_close(layer.cpu()(x.cpu()), y.cpu(), rtol=1e-4, atol=1e-4)
    assert layer.plan_for(128, "training").device == "cpu"


def captured(run):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_captured_step_follows_inputs_and_cores(chunk):
    layer = on_gpu(WIDE, chunk=chunk)
    x = torch.randn(5, layer.in_features, device="cuda", requires_grad=True)
    leaves = [x, *layer.parameters()]

    def step():
        y = layer(x)
        return [y, *torch.autograd.grad(y.square().sum(), leaves)]

    graph, results = captured(step)
    with torch.no_grad():
        for leaf in leaves:
            leaf.normal_()
    graph.replay()
    for found, true in zip(results, step(), strict=True):
        torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-4 * float(true.abs().max()))


def test_captured_inference_sees_new_cores_though_inference_keeps_what_it_prepares():
    layer = on_gpu(WIDE)
    x = torch.randn(5, layer.in_features, device="cuda")
    with torch.no_grad():
        layer(x)  # kept from here on
        graph, y = captured(lambda: layer(x))
        for core in layer.cores.values():
            core.normal_()
        graph.replay()
        torch.testing.assert_close(y, layer(x), rtol=1e-4, atol=1e-4 * float(y.abs().max()))


@pytest.mark.filterwarnings("ignore")  # torch warns of itself
def test_compiled():
    layer = on_gpu(WIDE)
    x = torch.randn(5, layer.in_features, device="cuda", requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True)
    for run in (compiled, layer):
        x.grad = None
        run(x).square().sum().backward()
        if run is compiled:
            found = x.grad
    torch.testing.assert_close(found, x.grad, rtol=1e-4, atol=1e-4 * float(found.abs().max()))


def test_memory_does_not_grow_and_no_step_waits_for_the_device():
    layer = on_gpu(WIDE, chunk=8)
    x = torch.randn(64, layer.in_features, device="cuda", requires_grad=True)

    def steps(count):
        for _ in range(count):
            layer(x).sum().backward()
            x.grad = None
            layer.zero_grad()

    steps(3)
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(100)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_allocated() == before
    workspace.release()
    assert torch.cuda.memory_allocated() < before


def test_calibrate(monkeypatch, tmp_path):
    monkeypatch.setenv("TNLAYERS_CACHE", str(tmp_path))
    for name, value in (("_LARGE", 2**22), ("_LONG", 512), ("_REPLAYS", 2)):
        monkeypatch.setattr(rates_cuda, name, value)
    saved_rates.machine.cache_clear()
    try:
        for dtype in ("float32", "bfloat16"):
            found = calibration.calibrate("cuda", dtype)
            assert saved_rates.machine(device_name("cuda"), dtype) == found
        assert saved_rates.machine() == rates.default_machine()
    finally:
        saved_rates.machine.cache_clear()
