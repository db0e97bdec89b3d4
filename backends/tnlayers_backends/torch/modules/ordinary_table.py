"""Ordinary modules of torch as forms: one table, by class. A setting without a form is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tnlayers.errors import TNLayersError
from tnlayers.forms import ordinary
from tnlayers.forms.form import Form
from tnlayers_backends.torch.modules.step_tables import each, pooled

_DIMS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3, nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
_DIMS |= {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
_DIMS |= {nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3}


def _convolution(one: Any) -> Form:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    return ordinary.DenseConvolution(**{name: getattr(one, name) for name in names}, bias=one.bias is not None)


def _batch_norm(one: Any) -> Form:
    if one.running_mean is None:
        raise TNLayersError(
            "A batch normalisation without running statistics normalises by the batch at hand, which has no form on "
            "other backends. Give it track_running_stats=True."
        )
    return ordinary.BatchNorm(one.num_features, one.eps, one.affine)


def _max_pool(one: Any) -> Form:
    settings = (one.kernel_size, one.stride, one.padding, one.dilation)
    return pooled("max", _DIMS[type(one)], *settings, ceil_mode=one.ceil_mode, return_indices=one.return_indices)


def _avg_pool(one: Any) -> Form:
    rest = {name: getattr(one, name, None) for name in ("ceil_mode", "divisor_override")}
    rest["count_include_pad"] = one.count_include_pad
    return pooled("mean", _DIMS[type(one)], one.kernel_size, one.stride, one.padding, **rest)


def _global_mean(one: Any) -> Form:
    dims = _DIMS[type(one)]
    if each(one.output_size, dims) != (1,) * dims:
        raise TNLayersError(f"Adaptive pooling to {one.output_size} has no form on other backends; pooling to 1 has.")
    return ordinary.GlobalMean(dims)


def _softmax(one: Any) -> Form:
    if one.dim != -1:
        raise TNLayersError(f"nn.Softmax(dim={one.dim}) has no form on other backends; dim=-1 has.")
    return ordinary.Elementwise("softmax")


def _embedding(one: Any) -> Form:
    if one.max_norm is not None:
        raise TNLayersError("nn.Embedding with max_norm rewrites its table, which has no form on other backends.")
    return ordinary.DenseEmbedding(one.num_embeddings, one.embedding_dim)


# Class of a module -> its form.
ORDINARY: dict[type[nn.Module], Callable[[Any], Form]] = {
    nn.Linear: lambda one: ordinary.Dense(one.in_features, one.out_features, one.bias is not None),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    nn.LayerNorm: lambda one: ordinary.LayerNorm(
        tuple(one.normalized_shape), one.eps, one.elementwise_affine, one.bias is not None
    ),
    nn.Embedding: _embedding,
    nn.ReLU: lambda one: ordinary.Elementwise("relu"),
    nn.Tanh: lambda one: ordinary.Elementwise("tanh"),
    nn.Sigmoid: lambda one: ordinary.Elementwise("sigmoid"),
    nn.GELU: lambda one: ordinary.Elementwise("gelu" if one.approximate == "none" else "gelu_tanh"),
    nn.SiLU: lambda one: ordinary.Elementwise("silu"),
    nn.Softmax: _softmax,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d), lambda one: ordinary.Identity()),
    nn.Flatten: lambda one: ordinary.Flatten(one.start_dim, one.end_dim),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _avg_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _global_mean),
}
