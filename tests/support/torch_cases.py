"""What the tests of torch's tools share: a layer of each kind of network, and comparison with the oracle."""

from dataclasses import replace

import numpy as np
import pytest
from absent import framework
from oracle import assert_close, oracle_forward, oracle_gradients
from specs import MARKET, SUMS

import tnlayers as tnl

torch = framework("torch")

# One row per thing that a tool could trip over: bias, a loop, hyperedges, axes shared by input and output (stacks of
# products), padding, legs of one core joined or copied to each other (diagonals), a sum.
CASES = {
    name: (MARKET | SUMS)[name]
    for name in ("mpo-bias", "ring", "cp", "blocks", "monarch", "mpo-padded", "traced", "repeated", "sum-bias")
}
FEW = ("mpo-bias", "monarch", "mpo-padded", "sum-bias")


# Deprecations of parts of torch that torch's own tools still use: nothing that a caller could mend.
torch_blames_itself = pytest.mark.filterwarnings(
    r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
)


def built(name, dtype="float32", **options):
    """The layer of a case."""
    return tnl.build(CASES[name], backend="torch", seed=3, dtype=dtype, **options)


def dtype_name(tensor):
    """Its dtype as numpy and the oracle call it."""
    return str(tensor.dtype).removeprefix("torch.")


def wide(tensor):
    """A numpy array in float64 or complex128."""
    tensor = tensor.detach().resolve_conj()
    return (tensor.to(torch.complex128) if tensor.is_complex() else tensor.double()).numpy()


def vectors(layer, *leading, seed=0, **options):
    """Random inputs of shape (*leading, in_features) in the layer's dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, layer.in_features, generator=generator, dtype=layer_dtype(layer), **options)


def layer_dtype(layer):
    return next(iter(layer.cores.values())).dtype


def expected_output(layer, x):
    """The oracle's output for tensor `x`."""
    bias = None if layer.bias is None else wide(layer.bias)
    return oracle_forward(layer.spec, [wide(core) for core in layer.cores.values()], wide(x), bias)


def assert_forward(layer, y, x, dtype=None):
    """`y` is the layer's output for `x`."""
    assert_close(y, expected_output(layer, x), dtype=dtype or dtype_name(x))


def expected_gradients(layer, x, grad_y):
    """Gradients as torch gives them for sum(y * grad_y), by name: of "x", of each core, and of the bias if any."""
    cores = [wide(core) for core in layer.cores.values()]
    found = oracle_gradients(layer.spec, cores, wide(x), np.conj(wide(grad_y)))  # torch conjugates, the oracle does not
    conjugated = [replace(gradient, value=np.conj(gradient.value)) for gradient in found]
    names = ["x", *layer.cores, *([] if layer.bias is None else ["bias"])]
    return dict(zip(names, conjugated[: len(names)], strict=True))


def assert_gradients(layer, got, x, grad_y, dtype=None):
    """`got` holds the gradients by name, "x" among them or not."""
    for name, expected in expected_gradients(layer, x, grad_y).items():
        if name != "x" or "x" in got:
            assert_close(got[name], expected, dtype=dtype or dtype_name(x))


def parameter_gradients(layer):
    """What backward left in the parameters."""
    return {name: parameter.grad for name, parameter in layer.named_parameters()}


def check_derivatives(layer):
    """Compare first and second derivatives, backward and forward mode, with differences."""
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(3, layer.in_features, dtype=torch.float64, requires_grad=True)

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(run, (x, *layer.parameters()), fast_mode=True)


def assert_differentiates(layer, run, x, seed=1, dtype=None):
    """Output and all gradients of `run`, in place of the layer, at `x`."""
    x = x.detach().clone().requires_grad_()
    y = run(x)
    assert_forward(layer, y, x, dtype)
    grad_y = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    layer.zero_grad()
    y.backward(grad_y)
    assert_gradients(layer, parameter_gradients(layer) | {"x": x.grad}, x, grad_y, dtype)


def run_watched(layer, x):
    """The output, and the bytes that autograd saves beside the input and the parameters."""
    own = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x)
    return y, sum(saved.values())
