"""Convolutions for tests: a small one, random inputs, the plan that does not rebuild the kernel, and the oracle."""

import numpy as np
import torch
from oracle import assert_close
from oracle_conv import oracle_conv, oracle_conv_gradients

import tnlayers as tnl
from tnlayers.planning.conv_choice import plan_convolution
from tnlayers.pricing.counts import Cost

NEVER = Cost(flops=10**18, bytes=10**18, copied=0, kept=0, result=0)  # a rebuilt kernel that no search would take


def inputs(layer, size=(6, 7), batch=3, dtype="float32", seed=1):
    shape = (batch, layer.in_channels, *size[: layer.dims])
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def forced(layer, x):
    """The best plan that does not rebuild the kernel, or None."""
    return plan_convolution(
        layer._conv.convolution, x.shape[0], tuple(x.shape[2:]), NEVER, "training", layer._map.dtype
    )


def assert_layer(layer, x, dtype):
    """Forward and gradients of x, every core and the bias."""
    leaf = torch.from_numpy(x).requires_grad_()
    layer.zero_grad()
    y = layer(leaf)
    assert_close(y, oracle_conv(layer, x), dtype=dtype)
    grad_y = np.random.default_rng(2).standard_normal(tuple(y.shape)).astype(dtype)
    y.backward(torch.from_numpy(grad_y))
    found = [leaf, *layer.cores.values(), *([] if layer.bias is None else [layer.bias])]
    for tensor, expected in zip(found, oracle_conv_gradients(layer, x, grad_y), strict=True):
        assert_close(tensor.grad, expected, dtype=dtype)


def small(**changes):
    keywords = {"padding": 1, "network": "mpo(cores=2, bond=3)", "seed": 0} | changes
    return tnl.nn.TNConv2d(4, 6, 3, **keywords)
