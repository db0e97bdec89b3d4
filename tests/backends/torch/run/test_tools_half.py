"""Half precision: forward and gradients of 2 to 12 cores are finite and within rounding of the float64 oracle."""

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward, oracle_gradients

import tnlayers as tnl

# Modes are small so that the oracle is quick; the outer bonds are clipped to what these can fill.
pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")


def modes(sites, *sizes):
    """Sizes in turn, one per site."""
    return "x".join(str(sizes[k % len(sizes)]) for k in range(sites))


SPECS = {f"mpo-{n}": f"mpo(in={modes(n, 2, 1)}, out={modes(n, 1, 2)}, bond=4)" for n in range(2, 13)}
SPECS |= {f"mpo-12-bond-{d}": f"mpo(in={modes(12, 2, 1)}, out={modes(12, 1, 2)}, bond={d})" for d in (1, 16)}
SPECS |= {f"tree-{2 * n - 2}": f"tree(in={modes(n, 2)}, out={modes(n, 2)}, bond=4)" for n in range(2, 8)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", SPECS)
def test_forward_and_gradients(name, dtype):
    """What is rounded to the dtype is taken as exact; the rest is the contraction's own rounding."""
    layer = tnl.build(SPECS[name], seed=5, dtype=dtype)
    spec = layer.spec
    assert len(layer.cores) == int(name.split("-")[1])
    rng = np.random.default_rng(1)
    kind = next(layer.parameters()).dtype
    x = torch.from_numpy(rng.standard_normal((8, spec.in_features))).to(kind).requires_grad_()
    grad_y = torch.from_numpy(rng.standard_normal((8, spec.out_features))).to(kind)
    y = layer(x)
    y.backward(grad_y)
    cores = [core.detach().double().numpy() for core in layer.cores.values()]
    x64, grad64 = x.detach().double().numpy(), grad_y.double().numpy()
    assert_close(y, oracle_forward(spec, cores, x64), dtype=dtype)
    expected = oracle_gradients(spec, cores, x64, grad64)[:-1]
    for tensor, gradient in zip((x, *layer.cores.values()), expected, strict=True):
        assert_close(tensor.grad, gradient, dtype=dtype)
        assert bool(tensor.grad.any())


@pytest.mark.parametrize(("dtype", "factor"), [("float16", 0.8), ("bfloat16", -1)])
def test_the_comparison_has_teeth(dtype, factor):
    """bfloat16 has 8 bits: after 12 cores the allowance is about the size of an entry."""
    layer = tnl.build(SPECS["mpo-12"], seed=5, dtype=dtype)
    x = torch.randn(8, layer.spec.in_features, generator=torch.Generator().manual_seed(0)).to(layer.core_0.dtype)
    cores = [core.detach().double().numpy() for core in layer.cores.values()]
    cores[5] = cores[5] * factor
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer(x), oracle_forward(layer.spec, cores, x.double().numpy()), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("cores", [2, 6, 12])
def test_a_step_of_training_is_finite(cores, dtype):
    """With the norm of W and the penalty on bonds in the loss."""
    layer = tnl.build(f"mpo(in={modes(cores, 2)}, out={modes(cores, 2)}, bond=4)", seed=5, dtype=dtype)
    x = torch.randn(8, layer.spec.in_features, generator=torch.Generator().manual_seed(0)).to(layer.core_0.dtype)
    loss = layer(x).float().square().mean() + 1e-3 * layer.norm2().float() + 1e-3 * tnl.nn.bond_penalty(layer).float()
    loss.backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert all(bool(torch.isfinite(core).all() and torch.isfinite(core.grad).all()) for core in layer.cores.values())
    assert bool(layer(x).isfinite().all())
