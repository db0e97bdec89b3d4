"""Every row of the market, on every backend and dtype: the layer is the float64 einsum of its declaration."""

import numpy as np
import pytest
from absent import framework
from layer_arrays import assert_gradients, inputs, to, values
from oracle import assert_close, oracle_forward, oracle_gradients, oracle_weight
from specs import MARKET

import tnlayers as tnl

torch = framework("torch")

BACKENDS = ("numpy", "torch")
DTYPES = ("float32", "float64")
LEADING = ((), (0,), (1,), (5,), (2, 3), (2, 0, 3), (1, 1, 1))

# The paper's layers (arXiv 1904.06194): FC2's two and LeNet-5's three.
PAPER = {
    "fc2.fc1": "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
    "fc2.fc2": "mpo(in=4x4x4x4, out=1x1x10x1, bond=4)",
    "lenet5.conv3": "mpo(in=2x10x10x2, out=2x5x6x2, bond=4)",
    "lenet5.fc1": "mpo(in=2x5x6x2, out=2x3x7x2, bond=4)",
    "lenet5.fc2": "mpo(in=2x3x7x2, out=1x5x2x1, bond=2)",
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MARKET)
def test_forward(name, backend, dtype):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, backend=backend, seed=5, dtype=dtype)
    cores, bias = values(layer)
    for leading in LEADING:
        x = inputs(spec, leading, dtype)
        assert_close(layer(to(backend, x)), oracle_forward(spec, cores, x, bias), dtype=dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MARKET)
def test_inputs_of_any_strides(name, backend):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, backend=backend, seed=5)
    cores, bias = values(layer)
    x = inputs(spec, (4, 6), "float32")
    transposed = np.ascontiguousarray(np.moveaxis(x, -1, 0))
    for strided in (
        to(backend, x)[::2, 1:],
        to(backend, x).swapaxes(0, 1),
        to(backend, np.moveaxis(transposed, 0, -1)),
    ):
        assert_close(layer(strided), oracle_forward(spec, cores, np.asarray(strided), bias), dtype="float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MARKET)
def test_dense_forms(name, backend, dtype):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, backend=backend, seed=5, dtype=dtype)
    cores, bias = values(layer)
    expected = oracle_weight(spec, cores)
    assert_close(layer.to_dense(), expected, dtype=dtype)
    assert_close(layer.weight, expected, dtype=dtype)
    assert expected.value.shape == (spec.out_features, spec.in_features)
    if backend == "torch":
        dense = layer.to_linear()
        assert type(dense) is torch.nn.Linear
        assert (dense.in_features, dense.out_features) == (spec.in_features, spec.out_features)
        assert (dense.bias is None) == (bias is None)
        x = inputs(spec, (3,), dtype)
        assert_close(dense(to(backend, x)), oracle_forward(spec, cores, x, bias), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MARKET)
def test_gradients(name, dtype):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, seed=5, dtype=dtype)
    for leading in ((), (1,), (5,), (2, 3)):
        assert_gradients(spec, layer, leading, dtype)


@pytest.mark.parametrize("name", MARKET)
def test_gradcheck(name):
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, seed=5, dtype="float64")
    x = torch.from_numpy(inputs(spec, (2,), "float64")).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", ["mpo-padded", "blocks", "ring", "cp"])
def test_the_weight_is_differentiable(name):
    """Gradients through `weight` are those through the layer, applied to the identity."""
    spec = tnl.spec(MARKET[name])
    layer = tnl.build(spec, seed=5, dtype="float64")
    grad = np.random.default_rng(2).standard_normal((spec.out_features, spec.in_features))
    layer.weight.backward(torch.from_numpy(grad))
    expected = oracle_gradients(spec, values(layer)[0], np.eye(spec.in_features), grad.T)[1:-1]
    for core, gradient in zip(layer.cores.values(), expected, strict=True):
        assert_close(core.grad, gradient, dtype="float64")


@pytest.mark.parametrize("name", MARKET)
def test_parameters_keep_shape_order_and_name_of_the_declaration(name):
    spec = tnl.spec(MARKET[name])
    for backend in BACKENDS:
        layer = tnl.build(spec, backend=backend)
        assert {key: tuple(core.shape) for key, core in layer.cores.items()} == spec.graph.shapes
        assert list(layer.cores) == [core.name for core in spec.graph.cores]
        assert sum(int(np.prod(core.shape)) for core in layer.cores.values()) == spec.parameters


def test_numpy_and_torch_draw_the_same_cores():
    for text in MARKET.values():
        one, other = tnl.build(text, backend="numpy", seed=7), tnl.build(text, backend="torch", seed=7)
        (cores, bias), (others, its_bias) = values(one), values(other)
        assert all(np.array_equal(a, b) for a, b in zip(cores, others, strict=True))
        assert (bias is None and its_bias is None) or np.array_equal(bias, its_bias)


@pytest.mark.parametrize("backend", BACKENDS)
def test_prime_sizes_are_padded(backend):
    with pytest.warns(tnl.TNLayersWarning, match="97 has no balanced split into 2: padded by 1 to 98"):
        spec = tnl.spec("mpo(cores=2, bond=4)", 97, 11)
    assert (spec.in_features, spec.out_features, spec.pad_in) == (97, 11, 1)
    layer = tnl.build(spec, backend=backend, seed=0)  # no second warning
    assert layer.spec == spec
    x = inputs(spec, (3,), "float32")
    cores, _ = values(layer)
    assert_close(layer(to(backend, x)), oracle_forward(spec, cores, x), dtype="float32")
    assert_close(layer.to_dense(), oracle_weight(spec, cores), dtype="float32")


# The paper's layers, by every kind of plan.


def plans(spec):
    n = len(spec.graph.cores)
    for batch in (1, 100, 1000):
        for optimize in ("auto", "optimal", "greedy", "dp"):
            yield tnl.plan(spec, batch, optimize=optimize, objective="training")
    yield tnl.plan(spec, 10, optimize=[(0, 1)] * n)  # first operands first: x through the cores
    yield tnl.plan(spec, 10, optimize=[(1, 2)] + [(1, n - k) for k in range(1, n - 1)] + [(0, 1)])  # rebuild


@pytest.mark.parametrize("name", PAPER)
def test_layers_of_the_paper(name):
    spec = tnl.spec(PAPER[name], bias=True)
    x = inputs(spec, (100,), "float32")
    grad_y = np.random.default_rng(2).standard_normal((100, spec.out_features)).astype("float32")
    layer = tnl.build(spec, seed=1)
    cores, bias = values(layer)
    y = oracle_forward(spec, cores, x, bias)
    gradients = oracle_gradients(spec, cores, x, grad_y)
    seen = set()
    for plan in plans(spec):
        if plan.path in seen:
            continue
        seen.add(plan.path)
        layer.use_plan(plan)
        leaf = torch.from_numpy(x).requires_grad_()
        layer.zero_grad()
        found = layer(leaf)
        found.backward(torch.from_numpy(grad_y))
        assert_close(found, y, dtype="float32")
        for tensor, gradient in zip((leaf, *layer.cores.values(), layer.bias), gradients, strict=True):
            assert_close(tensor.grad, gradient, dtype="float32")
    assert len(seen) >= 3
    assert_close(layer.to_dense(), oracle_weight(spec, cores), dtype="float32")


@pytest.mark.parametrize("name", ["mpo-4", "ring", "star", "cp", "monarch", "traced"])
def test_every_plan_gives_the_same(name):
    spec = tnl.spec(MARKET[name])
    x = inputs(spec, (6,), "float64")
    layer = tnl.build(spec, backend="numpy", seed=1, dtype="float64")
    expected = oracle_forward(spec, values(layer)[0], x)
    for batch in (1, 6, 1000):
        for optimize in ("auto", "optimal", "greedy", "dp", "random-greedy", "branch-all"):
            layer.use_plan(tnl.plan(spec, batch, optimize=optimize))
            assert_close(layer(x), expected, dtype="float64")


def test_the_comparison_of_gradients_has_teeth():
    spec = tnl.spec(MARKET["mpo-3"])
    layer = tnl.build(spec, seed=5)
    cores, _ = values(layer)
    x, grad_y = inputs(spec, (5,), "float32"), np.ones((5, spec.out_features), "float32")
    layer(torch.from_numpy(x)).sum().backward()
    cores[1] = cores[1] * 1.001
    for k, gradient in enumerate(oracle_gradients(spec, cores, x, grad_y)[1:-1]):
        core = list(layer.cores.values())[k]
        if k == 1:  # the gradient of a core does not contain the core
            assert_close(core.grad, gradient, dtype="float32")
        else:
            with pytest.raises(AssertionError, match="off by"):
                assert_close(core.grad, gradient, dtype="float32")
