"""Layers on jax: each row of the market is the float64 einsum of its declaration, in every dtype and shape."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_cases import BIAS, ROWS, SOME, normal, run, values, x64
from oracle import assert_close, oracle_forward, oracle_gradients, oracle_weight

import tnlayers as tnl


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*product(ROWS, ["float32"]), *product(SOME, ["float64", "complex64", "complex128"])],
)
def test_forward_gradients_and_weight(name, dtype):
    with x64(dtype in ("float64", "complex128")):
        spec = tnl.spec(ROWS[name])
        layer = tnl.build(spec, backend="jax", seed=5, dtype=dtype)
        x, grad_y = normal((2, 3, spec.in_features), dtype), normal((2, 3, spec.out_features), dtype, seed=2)
        y, (by_layer, by_x), weight = run(layer, x, grad_y)
        cores, bias = values(layer)
        assert_close(y, oracle_forward(spec, cores, x, bias), dtype=dtype)
        assert_close(weight, oracle_weight(spec, cores), dtype=dtype)
        found = [by_x, *by_layer.cores.values(), *([] if bias is None else [by_layer.bias])]
        for gradient, expected in zip(found, oracle_gradients(spec, cores, x, grad_y), strict=bias is not None):
            assert_close(gradient, expected, dtype=dtype)


def test_the_comparisons_have_teeth():
    layer = tnl.build(BIAS, backend="jax", seed=5)
    x, grad_y = normal((3, 12), "float32"), normal((3, 12), "float32", seed=2)
    y, (by_layer, by_x), weight = run(layer, x, grad_y)
    cores, bias = values(layer)
    cores[1] = cores[1] * 1.001
    expected = oracle_gradients(layer.spec, cores, x, grad_y)
    for found, other in (
        (y, oracle_forward(layer.spec, cores, x, bias)),
        (weight, oracle_weight(layer.spec, cores)),
        (by_x, expected[0]),
        (by_layer.cores["core_0"], expected[1]),
    ):
        with pytest.raises(AssertionError, match="off by"):
            assert_close(found, other, dtype="float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["mpo-4", "mpo-padded", "blocks", "traced"])
def test_half_precision(name, dtype):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, backend="jax", seed=5, dtype=dtype)
    x = jnp.asarray(normal((6, spec.in_features), "float32"), dtype)
    assert_close(jax.jit(layer)(x), oracle_forward(spec, values(layer)[0], np.asarray(x)), dtype=dtype)


@pytest.mark.parametrize("name", ["mpo-padded", "monarch"])
@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 0, 3), (1, 1, 1)])
def test_any_leading_dimensions(name, leading):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, backend="jax", seed=5)
    x = normal((*leading, spec.in_features), "float32")
    assert_close(layer(x), oracle_forward(spec, values(layer)[0], x), dtype="float32")


@pytest.mark.parametrize("dtype", ["float64", "complex128", np.float64])
def test_64_bits_without_the_flag_are_refused(dtype):
    with pytest.raises(tnl.TNLayersError, match=r"jax_enable_x64.*JAX_ENABLE_X64"):
        tnl.build(BIAS, backend="jax", dtype=dtype)


def test_a_narrow_layer_stays_narrow_in_64_bit_mode():
    with x64(True):
        layer = tnl.build(BIAS, backend="jax")
        params = layer.init(jax.random.key(0))
        assert {p.dtype.name for p in (*layer.params.values(), *params.values())} == {"float32"}
        assert layer(np.ones((2, 12), np.float32)).dtype == jnp.float32
        assert layer.weight.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float31", "int32", jnp.int8])
def test_unknown_dtypes_are_refused(dtype):
    with pytest.raises(tnl.TNLayersError, match="cannot have dtype"):
        tnl.build(BIAS, backend="jax", dtype=dtype)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.dtype("bfloat16"), "bfloat16"])
def test_dtypes_by_name_or_as_jax_has_them(dtype):
    assert tnl.build(BIAS, backend="jax", dtype=dtype).bias.dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(3, 11), (12, 3), (0,), ()])
def test_wrong_inputs_are_refused_with_the_numbers(shape):
    with pytest.raises(tnl.TNLayersError, match=r"12 features, \(\.\.\., 12\) -> \(\.\.\., 12\)"):
        tnl.build(BIAS, backend="jax")(np.zeros(shape, np.float32))
