"""Rows, numbers and runs that the tests of jax share."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from specs import MARKET, SUMS

ROWS = MARKET | SUMS
BIAS = "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)"
x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


def normal(shape, dtype, seed=1):
    rng = np.random.default_rng(seed)
    real = rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else real).astype(dtype)


def values(layer):
    """Cores and bias as numpy arrays."""
    return [np.asarray(core) for core in layer.cores.values()], None if layer.bias is None else np.asarray(layer.bias)


@jax.jit
def run(layer, x, grad_y):
    """Output, gradients of sum(y * grad_y) by layer and x, and the weight."""
    y, pull = jax.vjp(lambda layer, x: layer(x), layer, x)
    return y, pull(grad_y), layer.to_dense()


# All rows in single precision; the other dtypes are compiled for some, and by test_check.py for every network type.
SOME = ("mpo-bias", "mpo-padded", "monarch", "ring", "traced", "sum-2")


def tangents(layer, seed=9):
    return jax.tree.map(lambda p: jnp.asarray(normal(p.shape, "float32", seed + p.size)), layer)


def swapped(cores, k, core):
    return [core if j == k else c for j, c in enumerate(cores)]


def on_devices(code, count):
    """Run code where jax sees so many devices: what it printed, and its errors."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout, done.stderr
