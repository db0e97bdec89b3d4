"""Dtypes: float64, half precision, autocast and complex numbers, forward and backward, against the oracle."""

import pytest
import torch
from oracle import assert_close
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.sliced import total_like
from torch import nn
from torch_cases import (
    CASES,
    FEW,
    assert_differentiates,
    assert_forward,
    assert_gradients,
    built,
    dtype_name,
    expected_gradients,
    expected_output,
    parameter_gradients,
    vectors,
)

import tnlayers as tnl

COMPLEX = ("complex64", "complex128")
# torch says so of every nn.Module with complex parameters.
complex_modules = pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", *COMPLEX])
@pytest.mark.parametrize("name", CASES)
def test_forward_and_gradients(name, dtype):
    layer = built(name, dtype)
    assert {parameter.dtype for parameter in layer.parameters()} == {getattr(torch, dtype)}
    for leading in ((5,), (2, 3)):
        assert_differentiates(layer, layer, vectors(layer, *leading))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("cores", range(2, 13))
def test_half_precision_of_two_to_twelve_cores(cores, dtype):
    spec = f"mpo(in={'x'.join('2' * cores)}, out={'x'.join('2' * cores)}, bond=2)"
    layer = tnl.build(spec, backend="torch", seed=0, dtype=dtype)
    assert_differentiates(layer, layer, vectors(layer, 3))


@pytest.mark.parametrize("name", CASES)
def test_autocast_computes_in_bfloat16_and_leaves_float32_gradients(name):
    layer = built(name)
    x = vectors(layer, 5).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert_forward(layer, y, x, dtype="bfloat16")
    grad_y = torch.randn(5, layer.out_features, generator=torch.Generator().manual_seed(1)).bfloat16()
    y.backward(grad_y)
    got = parameter_gradients(layer) | {"x": x.grad}
    for key, expected in expected_gradients(layer, x, grad_y).items():
        assert got[key].dtype is torch.float32
        assert_close(got[key].bfloat16(), expected, dtype="bfloat16")  # the products' dtype sets the tolerance


def test_autocast_leaves_float64_alone_as_nn_linear_does():
    layer = built("mpo-bias", "float64")
    x = vectors(layer, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype is layer.to_linear()(x).dtype
        assert_forward(layer, layer(x), x, dtype=dtype_name(layer.to_linear()(x)))


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", FEW)
def test_complex_layers_have_complex_cores_and_a_complex_dense_form(name, dtype):
    layer = built(name, dtype)
    for key, core in layer.cores.items():
        assert core.imag.abs().max() > 0, key
    dense, x = layer.to_linear(), vectors(layer, 3)
    assert dense.weight.dtype is getattr(torch, dtype)
    assert_close(dense(x), expected_output(layer, x), dtype=dtype)


@complex_modules
def test_a_real_layer_becomes_complex():
    layer = built("mpo-bias").to(torch.complex64)
    x = vectors(layer, 4)
    assert x.dtype is torch.complex64
    assert_differentiates(layer, layer, x)
    model = nn.Sequential(built("mpo-bias")).to(torch.complex128)
    assert_differentiates(model[0], model, vectors(model[0], 4))


def test_complex_gradients_are_conjugated():
    """The comparison of complex gradients has teeth: without torch's conjugation it fails."""
    layer = built("mpo-bias", "complex128")
    with torch.no_grad():
        for core in layer.cores.values():
            core.mul_(torch.exp(torch.tensor(0.5j)))
    x = vectors(layer, 4)
    grad_y = torch.ones(4, layer.out_features, dtype=x.dtype) * (1 + 1j)
    layer(x).backward(grad_y)
    got = parameter_gradients(layer)
    assert_gradients(layer, got, x, grad_y)
    with pytest.raises(AssertionError, match="off by"):
        assert_gradients(layer, {key: grad.conj() for key, grad in got.items()}, x, grad_y)


def test_lazily_conjugated_inputs():
    layer = built("monarch", "complex64")
    x = vectors(layer, 4).conj()
    assert x.is_conj()
    assert_forward(layer, layer(x), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("swapped", [(), ("left",), ("right",), ("left", "right")])
def test_a_matrix_and_a_stack_in_any_order_of_memory(dtype, swapped):
    """Products and their sums over the stack, of operands as they stand in memory and transposed."""
    random = torch.Generator().manual_seed(0)

    def integers(name, *shape):  # exact in every dtype
        shape = (*shape[:-2], shape[-1], shape[-2]) if name in swapped else shape
        array = torch.randint(-3, 4, shape, generator=random).to(dtype)
        return array.mT if name in swapped else array

    matrix, stack, other = integers("left", 5, 4), integers("right", 3, 4, 6), integers("left", 3, 5, 4)
    out = torch.empty(3, 5, 6, dtype=dtype)
    for product in (OPS.matmul(matrix, stack), OPS.matmul_into(out, matrix, stack), OPS.matmul(stack.mT, matrix.mT).mT):
        assert torch.equal(product.double(), matrix.double() @ stack.double())
    total = total_like(torch.ones(5, 6, dtype=dtype)) + 1
    assert torch.equal(OPS.add_product(total, other, stack).double(), 1 + (other.double() @ stack.double()).sum(0))
