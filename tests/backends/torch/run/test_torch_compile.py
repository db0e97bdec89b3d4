"""`torch.compile`, `torch.export` and ONNX: what was traced at one batch size is right at every other, by values."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch_cases import CASES, FEW, assert_differentiates, assert_forward, built, torch_blames_itself, vectors

import tnlayers as tnl

pytestmark = torch_blames_itself


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def counted(module, **options):
    """The module compiled into one graph, and the counter of its compilations."""
    counter = CompileCounterWithBackend("aot_eager")
    return torch.compile(module, fullgraph=True, backend=counter, **options), counter


@pytest.mark.parametrize("name", CASES)
def test_compiles_once_for_all_batch_sizes(name):
    layer = built(name)
    compiled, counter = counted(layer, dynamic=True)
    for batch in (3, 8, 64, 17, 2):
        assert_differentiates(layer, compiled, vectors(layer, batch))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", FEW)
def test_compiles_as_often_as_nn_linear_without_being_told_that_the_batch_changes(name):
    """Once for the first size, once for all others, once for size 1, of which Dynamo always makes a constant."""
    layer = built(name)
    counts = []
    for module in (layer, layer.to_linear()):
        torch._dynamo.reset()
        compiled, counter = counted(module)
        counts.append([])
        for batch in (3, 8, 64, 17, 1, 2, 5):
            x = vectors(layer, batch)
            assert_forward(layer, compiled(x), x)
            counts[-1].append(counter.frame_count)
    assert counts == [[1, 2, 2, 2, 3, 3, 3]] * 2


def test_compiles_with_more_leading_axes():
    layer = built("mpo-padded")
    compiled, counter = counted(layer, dynamic=True)
    for leading in ((2, 3), (5, 7), (4, 2)):
        assert_differentiates(layer, compiled, vectors(layer, *leading))
    assert counter.frame_count == 1


def test_compiled_code_runs_the_plan_that_was_pinned():
    layer = built("mpo-bias")
    for path in ([(0, 1), (0, 2), (0, 1)], [(2, 3), (1, 2), (0, 1)]):
        torch._dynamo.reset()
        layer.use_plan(tnl.plan(layer.spec, 7, optimize=path))
        assert_differentiates(layer, torch.compile(layer, fullgraph=True, backend="aot_eager"), vectors(layer, 9))


@pytest.mark.parametrize("name", FEW)
def test_compiles_under_autocast(name):
    layer = built(name)
    compiled, counter = counted(layer, dynamic=True)
    for batch in (3, 64):
        x = vectors(layer, batch)
        with torch.autocast("cpu", torch.bfloat16):
            y = compiled(x)
        assert_forward(layer, y, x, dtype="bfloat16")
        layer.zero_grad()
        y.float().sum().backward()
        assert {parameter.grad.dtype for parameter in layer.parameters()} == {torch.float32}
    assert counter.frame_count == 1


def test_compiles_in_a_model():
    model = nn.Sequential(built("mpo-bias"), nn.ReLU(), tnl.nn.TNLinear(12, 4, network="mpo(cores=2, bond=2)", seed=0))
    dense = nn.Sequential(model[0].to_linear(), nn.ReLU(), model[2].to_linear())
    compiled, counter = counted(model, dynamic=True)
    for batch in (3, 64):
        x = vectors(model[0], batch)
        torch.testing.assert_close(compiled(x), dense(x))
        ours, theirs = (
            torch.autograd.grad(run(x).square().sum(), m[2].bias) for run, m in ((compiled, model), (dense, dense))
        )
        torch.testing.assert_close(ours, theirs)
    assert counter.frame_count == 1


@pytest.mark.parametrize("function", ["per_sample", "vmap"])
def test_compiles_transforms_of_functions(function):
    layer = built("sum-bias")
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).square().sum()

    run = {
        "per_sample": torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0)),
        "vmap": torch.func.vmap(loss, in_dims=(None, 0)),
    }[function]
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    x = vectors(layer, 5)
    torch.testing.assert_close(compiled(parameters, x), run(parameters, x))


def test_compiles_with_inductor():
    """The default backend, which writes and compiles C++."""
    layer = built("mpo-bias")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for batch in (3, 64):
        assert_differentiates(layer, compiled, vectors(layer, batch))


def exported(layer, axes=1):
    """The exported program of a layer in eval mode, all leading axes dynamic."""
    example = (vectors(layer, *(3, 4)[:axes]),)
    sizes = {axis: torch.export.Dim(f"axis_{axis}") for axis in range(axes)}
    return torch.export.export(layer.eval(), example, dynamic_shapes=(sizes,))


@pytest.mark.parametrize("name", CASES)
def test_exports_with_a_dynamic_batch(name):
    layer = built(name)
    module = exported(layer).module()
    for batch in (1, 5, 64):
        x = vectors(layer, batch)
        assert_forward(layer, module(x), x)


@pytest.mark.parametrize("name", FEW)
def test_exports_with_two_dynamic_axes(name):
    layer = built(name)
    module = exported(layer, axes=2).module()
    for leading in ((1, 1), (5, 2), (2, 64)):
        x = vectors(layer, *leading)
        assert_forward(layer, module(x), x)


def test_an_exported_program_trains_and_is_saved(tmp_path):
    layer = built("monarch")
    torch.export.save(exported(layer), tmp_path / "layer.pt2")
    module = torch.export.load(tmp_path / "layer.pt2").module()
    x, grad_y = vectors(layer, 9), torch.ones(9, layer.out_features)
    module(x).backward(grad_y)
    layer(x).backward(grad_y)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, layer.get_parameter(name).grad)


def test_the_exported_batch_is_no_constant():
    """The comparisons above have teeth: a program with a fixed batch refuses another."""
    layer = built("mpo-bias")
    module = torch.export.export(layer.eval(), (vectors(layer, 3),)).module()
    with pytest.raises(AssertionError, match="3"):
        module(vectors(layer, 5))


@pytest.mark.usefixtures("onnx_table")
@pytest.mark.parametrize(("name", "axes"), [*((name, 1) for name in CASES), *((name, 2) for name in FEW)])
def test_onnx_runs_at_other_batch_sizes(name, axes):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = built(name).eval()
    example = (vectors(layer, *(3, 4)[:axes]),)
    sizes = {axis: torch.export.Dim(f"axis_{axis}") for axis in range(axes)}
    program = torch.onnx.export(layer, example, dynamo=True, dynamic_shapes=(sizes,), verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for leading in ((1, 2), (6, 1), (17, 5)):
        x = vectors(layer, *leading[:axes])
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert_forward(layer, y, x)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("name", FEW)
def test_older_tracers_keep_the_batch_open(name, gradients):
    """`torch.jit.trace` and `make_fx` with symbolic shapes look at one batch, and record no loop over it."""
    from torch.fx.experimental.proxy_tensor import make_fx

    layer = built(name).requires_grad_(False)
    example = vectors(layer, 3)
    with torch.set_grad_enabled(gradients):
        for _ in range(2):  # what inference keeps is not what is traced
            layer(example)
        with pytest.warns(torch.jit.TracerWarning, match="Converting a tensor to a Python boolean"):
            scripted = torch.jit.trace(layer, (example,))
        graph = make_fx(layer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(example)
    for batch in (5, 64):
        x = vectors(layer, batch)
        assert_forward(layer, scripted(x), x)
        assert_forward(layer, graph(x), x)


def test_a_copy_of_a_compiled_layer_is_a_layer():
    layer = built("mpo-bias")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = vectors(layer, 4)
    compiled(x)
    assert_forward(layer, copy.deepcopy(compiled)(x), x)
