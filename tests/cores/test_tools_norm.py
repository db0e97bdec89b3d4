"""`layer.norm2()` is ||W||^2 of the float64 einsum, for every network, with the gradients of that einsum."""

from math import prod, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_arrays import values
from oracle import Expected, assert_close, oracle_gradients, oracle_weight
from specs import MARKET, SUMS
from tnlayers_backends.numpy import OPS

import tnlayers as tnl
from tnlayers.cores.norm import _mask_cores
from tnlayers.cores.overlap import Below, overlap, refined

ROWS = MARKET | SUMS
modes_lists = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


class Norm(torch.nn.Module):
    """`norm2` as a forward pass, so that it can be called with other cores."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.norm2()


def squared(weight):
    """||W||^2: an error d of each of N entries moves it by 2 |W| d each, together by 2 ||W|| sqrt(N) d."""
    value = np.sum(weight.value**2)
    return Expected(value, max(value, 2 * sqrt(value * weight.value.size) * weight.scale), weight.terms)


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "float32"), ("numpy", "float64")])
@pytest.mark.parametrize("name", ROWS)
def test_value(name, backend, dtype):
    layer = tnl.build(ROWS[name], backend=backend, seed=5, dtype=dtype)
    assert_close(layer.norm2(), squared(oracle_weight(layer.spec, values(layer)[0])), dtype=dtype)


@pytest.mark.parametrize("name", ROWS)
def test_gradients(name):
    """d||W||^2 = 2 <W, dW>: the gradients of the layer at the identity, pulled by 2 W."""
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    cores, _ = values(layer)
    layer.norm2().backward()
    pull = 2 * oracle_weight(layer.spec, cores).value.T
    expected = oracle_gradients(layer.spec, cores, np.eye(layer.spec.in_features), pull)[1:-1]
    for core, gradient in zip(layer.cores.values(), expected, strict=True):
        assert_close(core.grad, gradient, dtype="float64")


@pytest.mark.parametrize("name", ["mpo-padded", "ring", "cp", "monarch", "sum-2", "sum-alike", "sum-padded"])
def test_complex_cores_are_conjugated(name):
    layer = tnl.build(ROWS[name], seed=5, dtype="complex128")
    with torch.no_grad():
        for core in layer.cores.values():
            core.copy_(torch.randn(core.shape, dtype=core.dtype, generator=torch.Generator().manual_seed(1)))
    found = layer.norm2()
    assert found.dtype == torch.float64
    dense = layer.to_dense().detach()
    torch.testing.assert_close(found, dense.abs().square().sum(), rtol=1e-12, atol=0)

    def run(*parameters):
        named = {f"layer.{name}": core for name, core in zip(layer.cores, parameters, strict=True)}
        return torch.func.functional_call(Norm(layer), named, ())

    cores = tuple(core.detach().requires_grad_() for core in layer.cores.values())
    assert torch.autograd.gradcheck(run, cores, fast_mode=True)


def test_the_comparison_has_teeth():
    layer = tnl.build(MARKET["mpo-3"], "numpy", seed=5)
    layer.cores["core_1"] = layer.cores["core_1"] * np.float32(1.001)
    true = squared(oracle_weight(layer.spec, values(tnl.build(MARKET["mpo-3"], "numpy", seed=5))[0]))
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer.norm2(), true, dtype="float32")


@settings(max_examples=20)
@given(st.data(), st.integers(1, 3))
def test_padded_features_do_not_count(data, n):
    """Any modes, and any part of them cut off, on both sides."""
    modes = [data.draw(st.lists(st.integers(2, 4), min_size=n, max_size=n).map(tuple)) for _ in range(2)]
    pads = [data.draw(st.integers(0, prod(m) - 1)) for m in modes]
    spec = tnl.Spec(network="mpo", in_modes=modes[0], out_modes=modes[1], pad_in=pads[0], pad_out=pads[1])
    layer = tnl.build(spec, "numpy", dtype="float64")
    weight = oracle_weight(spec, values(layer)[0])
    assert weight.value.shape == (prod(modes[1]) - pads[1], prod(modes[0]) - pads[0])
    assert_close(layer.norm2(), squared(weight), dtype="float64")


@given(modes_lists, st.data())
def test_the_mask_is_one_below_the_limit(modes, data):
    if prod(modes) == 1:
        return
    mask = Below(modes, data.draw(st.integers(1, prod(modes) - 1)))
    network = np.ones((1, 1))
    for core in _mask_cores(OPS, mask, np.ones(1)):
        network = np.einsum("fs,sdt->fdt", network, core).reshape(-1, core.shape[-1])
    assert np.array_equal(network[:, 0], np.arange(prod(modes)) < mask.limit)


@given(modes_lists, modes_lists)
def test_refined_modes_split_both_lists(first, second):
    found = refined(first, second)
    if found is None:
        return
    assert prod(found) == prod(first) == prod(second)
    assert 1 not in found
    inner = {prod(found[k:]) for k in range(len(found) + 1)}
    for modes in (first, second):
        assert {prod(modes[k:]) for k in range(len(modes) + 1)} <= inner


def test_terms_without_a_refinement_are_exact():
    """3x4 and 2x6 cut 12 in ways that no list refines; neither do 16 and 13 padded features."""
    graphs = tnl.spec(SUMS["sum-alike"]).graphs
    assert overlap(graphs[0], graphs[1], (12, 10)) is None
    assert overlap(graphs[0], graphs[2], (12, 10)) is not None


def test_the_weight_is_not_built():
    """What autograd keeps stays far below the 16.8 million entries of W."""
    layer = tnl.build("mpo(in=8x8x8x8, out=8x8x8x8, bond=16)", seed=0)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        layer.norm2()
    assert max(kept) <= 2 * layer.spec.parameters
