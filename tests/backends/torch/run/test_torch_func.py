"""`torch.func` and autograd's own checks: transforms of a layer equal those of the dense einsum or of its gradients."""

import pytest
import torch
from oracle import assert_close, terms_of
from torch import func
from torch_cases import (
    CASES,
    FEW,
    assert_forward,
    assert_gradients,
    built,
    expected_gradients,
    torch_blames_itself,
    vectors,
    wide,
)

pytestmark = torch_blames_itself


def parameters_of(layer):
    return {name: parameter.detach() for name, parameter in layer.named_parameters()}


def call(layer, parameters, x):
    return func.functional_call(layer, parameters, (x,))


def terms(layer):
    """How many products lie behind an entry of either side of a comparison."""
    return 2 * max(terms_of(part.graph, batch=8) for part in layer.spec.parts)


@pytest.mark.parametrize("name", CASES)
def test_vmap_over_the_batch(name):
    layer = built(name)
    x = vectors(layer, 6, 4)
    assert_forward(layer, func.vmap(layer)(x), x)
    assert_forward(layer, func.vmap(func.vmap(layer))(x), x)
    assert_forward(layer, func.vmap(layer, in_dims=1, out_dims=1)(x), x)


@pytest.mark.parametrize("name", FEW)
def test_vmap_over_stacked_cores(name):
    """An ensemble: each of three layers has cores and inputs of its own."""
    layers = [built(name) for _ in range(3)]
    for seed, layer in enumerate(layers):
        layer.reset_parameters(seed)
    stacked, _ = func.stack_module_state(layers)
    x = vectors(layers[0], 3, 5)
    y = func.vmap(lambda parameters, x: call(layers[0], parameters, x))(stacked, x)
    for k, layer in enumerate(layers):
        assert_forward(layer, y[k], x[k])


@pytest.mark.parametrize("name", CASES)
def test_grad_and_gradients_per_sample(name):
    layer = built(name)
    parameters = parameters_of(layer)
    x = vectors(layer, 5)
    weights = torch.randn(5, layer.out_features, generator=torch.Generator().manual_seed(1))

    def loss(parameters, x, weights):
        return (call(layer, parameters, x) * weights).sum()

    of_parameters, of_x = func.grad(loss, argnums=(0, 1))(parameters, x, weights)
    assert_gradients(layer, of_parameters | {"x": of_x}, x, weights)
    each = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, x, weights)
    for k in range(5):
        assert_gradients(layer, {name: grad[k] for name, grad in each.items()}, x[k : k + 1], weights[k : k + 1])


@pytest.mark.parametrize("name", CASES)
def test_jvp_and_jacrev(name):
    """The layer is affine in x: its derivative is the weight, its directional derivative the layer without bias."""
    layer = built(name, "float64")
    x, tangent = vectors(layer, 3), vectors(layer, 3, seed=2)
    y, along = func.jvp(layer, (x,), (tangent,))
    assert_forward(layer, y, x)
    zero = torch.zeros_like(tangent)
    expected = wide(layer(tangent) - layer(zero))
    assert_close(along, expected, dtype="float64", terms=terms(layer))
    jacobian = func.jacrev(layer)(x[0])
    assert_close(jacobian, wide(layer.to_dense()), dtype="float64", terms=terms(layer))
    assert_close(func.jacfwd(layer)(x[0]), wide(layer.to_dense()), dtype="float64", terms=terms(layer))


@pytest.mark.parametrize("name", FEW)
def test_jvp_along_the_cores_is_what_the_gradients_say(name):
    layer = built(name, "float64")
    parameters = parameters_of(layer)
    generator = torch.Generator().manual_seed(4)
    tangents = {key: torch.randn(p.shape, generator=generator, dtype=p.dtype) for key, p in parameters.items()}
    x = vectors(layer, 3)
    _, along = func.jvp(lambda p: call(layer, p, x), (parameters,), (tangents,))
    weights = torch.randn(along.shape, generator=generator, dtype=along.dtype)
    gradients = expected_gradients(layer, x, weights)
    expected = sum((wide(tangents[key]) * gradients[key].value).sum() for key in tangents)
    scale = sum(abs(wide(tangents[key]) * gradients[key].value).sum() for key in tangents)
    assert_close((along * weights).sum(), expected, dtype="float64", terms=terms(layer), scale=scale)


@pytest.mark.parametrize("name", FEW)
def test_hessian(name):
    """Of 1/2 |y|^2 by x: W^T W."""
    layer = built(name, "float64")
    hessian = func.hessian(lambda x: layer(x).square().sum() / 2)(vectors(layer))
    weight = wide(layer.to_dense())
    assert_close(hessian, weight.T @ weight, dtype="float64", terms=terms(layer))


@pytest.mark.parametrize("name", FEW)
def test_hessian_vector_products_over_the_cores(name):
    """Forward over reverse and reverse over reverse agree."""
    layer = built(name, "float64")
    parameters = parameters_of(layer)
    tangents = {key: torch.ones_like(p) for key, p in parameters.items()}
    x = vectors(layer, 3)
    gradient = func.grad(lambda p: call(layer, p, x).square().sum())
    _, forward_over_reverse = func.jvp(gradient, (parameters,), (tangents,))
    _, pull_back = func.vjp(gradient, parameters)
    (reverse_over_reverse,) = pull_back(tangents)
    for key in parameters:
        expected = wide(reverse_over_reverse[key])
        assert_close(forward_over_reverse[key], expected, dtype="float64", terms=terms(layer))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", CASES)
def test_gradcheck_and_gradgradcheck(name, dtype):
    """Against difference quotients, and forward mode along: of the input, the cores and the bias."""
    layer = built(name, dtype)
    keys = [key for key, _ in layer.named_parameters()]
    leaves = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    x = vectors(layer, 2).requires_grad_()

    def run(x, *leaves):
        return call(layer, dict(zip(keys, leaves, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *leaves), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *leaves), fast_mode=True)


def test_functional_call_has_teeth():
    """Perturbed cores give another answer than the oracle's, so the comparisons above can fail."""
    layer = built("mpo-bias")
    x = vectors(layer, 3)
    parameters = parameters_of(layer)
    assert_forward(layer, call(layer, parameters, x), x)
    parameters["core_1"] = parameters["core_1"] * 1.001
    with pytest.raises(AssertionError, match="off by"):
        assert_forward(layer, call(layer, parameters, x), x)
