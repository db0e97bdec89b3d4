"""Random inputs for a layer on numpy or torch, its cores as numpy arrays, and its gradients against the oracle."""

import numpy as np
from absent import framework
from oracle import assert_close, oracle_gradients

torch = framework("torch")


def to(backend, array):
    return torch.from_numpy(array) if backend == "torch" else array


def values(layer):
    """Cores and bias as numpy arrays."""
    cores = [np.asarray(core.detach() if hasattr(core, "detach") else core) for core in layer.cores.values()]
    bias = layer.bias
    return cores, None if bias is None else np.asarray(bias.detach() if hasattr(bias, "detach") else bias)


def inputs(spec, leading, dtype, seed=1):
    return np.random.default_rng(seed).standard_normal((*leading, spec.in_features)).astype(dtype)


def assert_gradients(spec, layer, leading, dtype):
    cores, bias = values(layer)
    x, grad_y = inputs(spec, leading, dtype), np.random.default_rng(2).standard_normal((*leading, spec.out_features))
    leaf = torch.from_numpy(x).requires_grad_()
    layer.zero_grad()
    layer(leaf).backward(torch.from_numpy(grad_y.astype(dtype)))
    expected = oracle_gradients(spec, cores, x, grad_y.astype(dtype))
    found = [leaf, *layer.cores.values(), *([] if bias is None else [layer.bias])]
    for tensor, gradient in zip(found, expected, strict=bias is not None):
        assert_close(tensor.grad, gradient, dtype=dtype)
