"""The numpy backend: all dtypes, products that reach BLAS, memory as the plan states it, and nothing else loaded."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from os import environ, pathsep

import numpy as np
import pytest
from oracle import assert_close, oracle_forward
from specs import MARKET, SUMS
from tnlayers_backends.numpy import NumpyOps

import tnlayers as tnl
from tnlayers.program.program import Multiply

ROWS = MARKET | SUMS


@pytest.mark.parametrize("dtype", ["float16", "complex64", "complex128"])
@pytest.mark.parametrize("name", ROWS)
def test_dtypes_beside_the_usual_two(name, dtype):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, "numpy", seed=5, dtype=dtype)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, spec.in_features)) + 1j * rng.standard_normal((4, spec.in_features))
    x = (x if dtype.startswith("complex") else x.real).astype(dtype)
    assert_close(layer(x), oracle_forward(spec, list(layer.cores.values()), x, layer.bias), dtype=dtype)


def is_matrix_for_blas(array):
    """Whether each of its matrices is contiguous by rows or by columns, as BLAS takes them without a copy."""
    rows, columns = array.shape[-2:]
    down, right = (stride // array.itemsize for stride in array.strides[-2:])
    by_rows = (right == 1 or columns == 1) and (down >= columns or rows == 1)
    by_columns = (down == 1 or rows == 1) and (right >= rows or columns == 1)
    return by_rows or by_columns


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("batch", [1, 6, 128])
@pytest.mark.parametrize("name", ["mpo-4", "mpo-odd", "ring-4", "cp", "monarch", "tree-3"])
def test_products_reach_blas(name, batch, dtype, monkeypatch):
    """numpy hands a product to gemm where both operands have one BLAS dtype, and strides that gemm knows."""
    seen = []
    matmul = NumpyOps.matmul

    def watched(self, left, right):
        seen.append((left, right))
        return matmul(self, left, right)

    monkeypatch.setattr(NumpyOps, "matmul", watched)
    layer = tnl.build(ROWS[name], "numpy", dtype=dtype)
    layer(np.ones((batch, layer.spec.in_features), dtype))
    steps = [step for term in layer.plan_for(batch).terms for step in term.program.steps]
    assert len(seen) == sum(isinstance(step, Multiply) for step in steps) > 0
    for left, right in seen:
        assert left.dtype == right.dtype == np.dtype(dtype)
        assert is_matrix_for_blas(left)
        assert is_matrix_for_blas(right)


def test_the_stride_test_has_teeth():
    square = np.ones((6, 8, 10))
    assert is_matrix_for_blas(square)
    assert is_matrix_for_blas(square.swapaxes(1, 2))
    assert not is_matrix_for_blas(square[:, :, ::2])
    assert not is_matrix_for_blas(np.broadcast_to(np.ones((8, 1)), (8, 10)))


def largest_live(plan):
    """Bytes alive at the worst moment by the plan's own sizes: each register from its step until it is read."""
    program, contraction, itemsize = plan.program, plan.contraction, 4
    alive, worst = {}, 0
    for number, (step, cost) in enumerate(zip(program.steps, plan.steps, strict=True)):
        result = contraction.elements(program.indices[program.operands + number]) * itemsize
        worst = max(worst, sum(alive.values()) + result + cost.copied // 2)
        for register in step.registers:
            alive.pop(register, None)
        alive[program.operands + number] = result
    return worst


@pytest.mark.parametrize("batch", [1, 32, 1024])
@pytest.mark.parametrize(
    "text",
    [
        "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
        "mpo(in=8x8x8, out=8x8x8, bond=8)",
        "ring(in=8x8x8, out=8x8x8, bond=4)",
        "cp(in=8x8x8, out=8x8x8, rank=16)",
    ],
)
def test_memory_is_what_the_plan_states(text, batch):
    """The peak of one call is at most 1.1 times the plan's largest live set, and 64 kB for Python's own objects."""
    layer = tnl.build(text, "numpy")
    x = np.ones((batch, layer.spec.in_features), np.float32)
    layer(x)  # plans
    stated = largest_live(layer.plan_for(batch))
    tracemalloc.start()
    layer(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 1.1 * stated + 65536
    assert peak >= 0.5 * stated  # the statement is no vast upper bound either


@pytest.mark.parametrize("leading", [(), (0,), (5,), (2, 3)])
@pytest.mark.parametrize(("name", "dtype"), [("mpo-padded", "float32"), ("ring", "complex64"), ("cp", "float16")])
def test_chunks_give_the_same(name, dtype, leading):
    spec = tnl.spec(ROWS[name])
    layer = tnl.build(spec, "numpy", seed=5, dtype=dtype)
    layer.use_plan(replace(tnl.plan(spec, 5), chunk=2))
    x = np.random.default_rng(1).standard_normal((*leading, spec.in_features)).astype(dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert_close(y, oracle_forward(spec, list(layer.cores.values()), x), dtype=dtype)
    assert layer(x.astype(np.complex128)).dtype == np.complex128  # the wider one, as plain operations give


def test_chunks_take_the_memory_of_a_few_rows():
    layer = tnl.build("mpo(in=8x8x8x8, out=8x8x8x8, bond=16)", "numpy")
    x, plan = np.ones((128, 4096), np.float32), layer.plan_for(128)
    peaks = []
    for chunk in (plan.chunk, None):
        layer.use_plan(replace(plan, chunk=chunk))
        tracemalloc.start()
        y = layer(x)
        peaks.append(tracemalloc.get_traced_memory()[1] - y.nbytes)
        tracemalloc.stop()
    assert 0.5 * plan.memory <= peaks[0] <= 1.1 * plan.memory + 65536
    assert peaks[0] <= peaks[1] / 8


def test_nothing_else_is_loaded():
    code = """
import sys
import numpy as np, tnlayers as tnl
layer = tnl.build("mpo(in=4x7, out=2x5, bias=true, bond=3)", backend="numpy", seed=0, dtype="complex64")
layer(np.ones((2, 28), np.complex64)); layer.to_dense()
tnl.to_backend(layer, "numpy")
print(sorted({"torch", "jax", "jaxlib", "ml_dtypes", "flax", "equinox"} & set(sys.modules)))
"""
    environment = {**environ, "PYTHONPATH": pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
