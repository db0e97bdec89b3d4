"""The oracle of convolutions: torch's own in float64, on the weight that the oracle contracts in float64."""

from math import prod

import numpy as np
import torch
from oracle import Expected, oracle_gradients, oracle_weight, terms_of
from torch.nn import functional

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def dense(layer, x, weight, bias=None):
    """torch's convolution with the layer's arguments, padding ahead included."""
    padding = layer.padding
    if layer.padding_mode != "zeros":
        pairs = layer._window.padding
        x = functional.pad(x, [n for pair in reversed(pairs) for n in pair], mode=layer.padding_mode)
        padding = 0
    return CONVOLVE[layer.dims](x, weight, bias, layer.stride, padding, layer.dilation, layer.groups)


def shaped(layer, matrix):
    """The kernel matrix in torch's shape."""
    per_group = layer.in_channels // layer.groups
    kernel = matrix.reshape(layer.out_channels, *layer.kernel_size, per_group)
    return np.ascontiguousarray(np.moveaxis(kernel, -1, 1))


def conv_terms(layer, positions):
    graphs = layer.spec.graphs
    return max(terms_of(graph) for graph in graphs) + layer.spec.in_features + positions


def arrays(layer):
    return [core.detach().double().numpy() for core in layer.cores.values()]


def oracle_conv(layer, x):
    """The layer's output for a numpy input of shape (batch, channels, *positions)."""
    found = oracle_weight(layer.spec, arrays(layer))
    w = torch.from_numpy(shaped(layer, found.value))
    x = torch.from_numpy(np.asarray(x, np.float64))
    bias = None if layer.bias is None else layer.bias.detach().double()
    y = dense(layer, x, w, bias).numpy()
    squares = dense(layer, x**2, torch.ones_like(w)).numpy()
    scale = found.scale * float(np.sqrt(np.max(squares, initial=0.0)))
    scale += 0.0 if bias is None else float(bias.abs().max())
    return Expected(y, scale, conv_terms(layer, 1))


def oracle_conv_gradients(layer, x, grad_y):
    """Gradients of sum(y * grad_y): of x, of each core, and of the bias if there is one."""
    found = oracle_weight(layer.spec, arrays(layer))
    x64, g64 = (torch.from_numpy(np.asarray(a, np.float64)) for a in (x, grad_y))
    w64 = torch.from_numpy(shaped(layer, found.value))

    def pull(x, w, g):
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        grads = torch.autograd.grad(dense(layer, x, w), (x, w), g)
        return [grad.detach().numpy() for grad in grads]

    grad_x, grad_w = pull(x64, w64, g64)
    square_x, _ = pull(x64, torch.ones_like(w64), g64**2)
    _, square_w = pull(x64**2, w64, g64**2)
    positions = prod(grad_y.shape[2:]) * max(grad_y.shape[0], 1)
    terms = conv_terms(layer, positions)
    scale = found.scale * float(np.sqrt(np.max(np.abs(square_x), initial=0.0)))
    results = [Expected(grad_x, scale, terms)]
    # A core's gradient is linear in the kernel's: the same einsum of their root mean squares tells its scale.
    n = layer.spec.in_features
    eye = np.eye(n)
    exact = oracle_gradients(layer.spec, arrays(layer), eye, matrix_of(grad_w).T)[1:-1]
    scales = oracle_gradients(layer.spec, arrays(layer), eye, matrix_of(np.sqrt(square_w)).T)[1:-1]
    results += [Expected(e.value, s.scale, e.terms + terms) for e, s in zip(exact, scales, strict=True)]
    if layer.bias is not None:
        axes = (0, *range(2, g64.ndim))
        rms = np.sqrt(np.max(np.sum(g64.numpy() ** 2, axis=axes), initial=0.0))
        results.append(Expected(g64.numpy().sum(axis=axes), float(rms), positions + 1))
    return results


def matrix_of(kernel):
    """A kernel in torch's shape as the matrix (out_channels, kernel positions times channels)."""
    return np.moveaxis(kernel, 1, -1).reshape(kernel.shape[0], -1)
