"""Refusals of layers of jax, Flax and Equinox that no other file of tests raises."""

import numpy as np
import pytest
from absent import framework

import tnlayers as tnl

jax = framework("jax")
eqx = framework("equinox")
nnx = pytest.importorskip("flax.nnx")
torch = framework("torch")


def linear():
    return tnl.build("mpo(in=4x4, out=4x4, bond=2)", backend="jax", seed=0)


def convolution():
    return tnl.to_backend(tnl.nn.TNConv2d(4, 8, 3, network="mpo(cores=2, bond=2)", seed=0), "jax")


REFUSALS = {
    "parameters of another layer": (
        lambda: linear().apply({"a": np.ones(3)}, np.ones((2, 16))),
        r"takes parameters of shapes .*'core_0'.*got \{'a': \(3,\)\}",
    ),
    "parameters of another convolution": (
        lambda: convolution().apply({"a": np.ones(3)}, np.ones((2, 4, 5, 5))),
        r"takes parameters of shapes .*'core_0'.*got \{'a': \(3,\)\}",
    ),
    "four dimensions": (
        lambda: tnl.jax.nnx.TNConv(4, 6, (3, 3, 3, 3), rngs=nnx.Rngs(0)),
        r"kernel_size=\(3, 3, 3, 3\): a convolution here has 1, 2 or 3 dimensions",
    ),
    "an adapter of a number": (
        lambda: tnl.jax.nnx.TNAdapter(3, "mpo(bond=2)", rngs=nnx.Rngs(0)),
        r"base is a int: an nnx\.Linear is needed",
    ),
    "an adapter with a bias": (
        lambda: tnl.jax.nnx.TNAdapter(nnx.Linear(4, 4, rngs=nnx.Rngs(0)), "mpo(bond=2, bias=true)", rngs=nnx.Rngs(0)),
        "has a bias, and an adapter adds to a weight: leave bias out",
    ),
    "no layers": (
        lambda: tnl.jax.eqx.TNLSTM(4, 6, 0, key=jax.random.key(0)),
        r"num_layers=0 \(int\): an integer from 1",
    ),
    "no layers in Flax": (lambda: tnl.jax.nnx.TNLSTM(4, 6, 0, rngs=nnx.Rngs(0)), r"num_layers=0 \(int\)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused(name):
    ask, words = REFUSALS[name]
    with pytest.raises(tnl.TNLayersError, match=words):
        ask()
