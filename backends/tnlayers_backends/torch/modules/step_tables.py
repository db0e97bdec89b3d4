"""What a forward pass may call between its modules: one table of functions and one of methods, each with its step."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from tnlayers.errors import TNLayersError
from tnlayers.forms import ordinary
from tnlayers.forms.steps import Step
from tnlayers_backends.torch.modules import causal

Call = tuple[str, tuple[Any, ...]]


def each(value: Any, dims: int) -> tuple[int, ...]:
    """One size for each dimension, where torch takes one for all."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def pooled(
    reduction: str, dims: int, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **rest: Any
) -> ordinary.Pool:
    """A pooling by torch's arguments.

    Raises:
        TNLayersError: If one of them has no form.
    """
    if rest.get("ceil_mode") or rest.get("return_indices") or rest.get("divisor_override"):
        raise TNLayersError("Pooling with ceil_mode, return_indices or divisor_override has no form on other backends.")
    if reduction == "mean" and any(each(padding, dims)) and not rest.get("count_include_pad", True):
        raise TNLayersError("Average pooling with count_include_pad=False has no form on other backends.")
    sizes = [each(value, dims) for value in (kernel, kernel if stride in (None, []) else stride, padding, dilation)]
    return ordinary.Pool(reduction, *sizes)


def _max_pool2d(x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **rest: Any) -> Call:
    form = pooled("max", 2, kernel, stride, padding, dilation, **rest)
    return "pool", (x, "max", form.kernel_size, form.stride, form.padding, form.dilation)


def _avg_pool2d(x: Any, kernel: Any, stride: Any = None, padding: Any = 0, **rest: Any) -> Call:
    form = pooled("mean", 2, kernel, stride, padding, **rest)
    return "pool", (x, "mean", form.kernel_size, form.stride, form.padding, form.dilation)


def _arithmetic(name: str) -> Callable[..., Call]:
    return lambda a, b: (name, (a, b))


def _activation(name: str) -> Callable[..., Call]:
    return lambda x, inplace=False: (name, (x,))


def _softmax_call(x: Any, dim: int) -> Call:
    if dim != -1:
        raise TNLayersError(f"A softmax along axis {dim} has no form on other backends; along -1 it has.")
    return "softmax", (x,)


def _gelu(x: Any, approximate: str = "none") -> Call:
    return ("gelu" if approximate == "none" else "gelu_tanh"), (x,)


def _flat(x: Any, start_dim: int = 0, end_dim: int = -1) -> Call:
    return "flatten", (x, start_dim, end_dim)


def _shaped(name: str) -> Callable[..., Call]:
    return lambda x, *sizes: (name, (x, sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes))


def _attribute(x: Any, name: str) -> Call:
    if name != "shape":
        raise TNLayersError(f"A forward pass that reads .{name} of a tensor has no form on other backends.")
    return "shape", (x,)


def _item(values: Any, key: Any) -> Call:
    if not isinstance(key, int):
        raise TNLayersError(f"A forward pass that reads [{str(key)[:60]}] has no form on other backends.")
    return "item", (values, key)


# Function -> the step for its arguments.
FUNCTIONS: dict[Any, Callable[..., Call]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add), _arithmetic("add")),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub), _arithmetic("subtract")),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul), _arithmetic("multiply")),
    **dict.fromkeys((torch.relu, functional.relu), _activation("relu")),
    **dict.fromkeys((torch.tanh, functional.tanh), _activation("tanh")),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid), _activation("sigmoid")),
    **dict.fromkeys((torch.softmax, functional.softmax), _softmax_call),
    functional.gelu: _gelu,
    functional.silu: _activation("silu"),
    torch.flatten: _flat,
    torch.permute: _shaped("permute"),
    torch.reshape: _shaped("reshape"),
    **dict.fromkeys((torch.cat, torch.concat), lambda tensors, dim=0: ("join", (tensors, dim))),
    functional.max_pool2d: _max_pool2d,
    functional.avg_pool2d: _avg_pool2d,
    functional.linear: lambda x, weight, bias=None: ("linear", (x, weight, bias)),
    torch.transpose: lambda x, dim0, dim1: ("transpose", (x, dim0, dim1)),
    torch.unflatten: lambda x, dim, sizes: ("unflatten", (x, dim, sizes)),
    causal.read_tokens: lambda tokens, before, context, name: ("read_tokens", (tokens, before, context, name)),
    causal.add_positions: lambda x, before: ("add_positions", (x, before)),
    causal.attend_causally: lambda query, key, value: ("attend_causally", (query, key, value)),
    getattr: _attribute,
    operator.getitem: _item,
}
# Method of a tensor -> likewise; the tensor is the first argument.
METHODS: dict[str, Callable[..., Call]] = {
    "add": _arithmetic("add"),
    "sub": _arithmetic("subtract"),
    "mul": _arithmetic("multiply"),
    **{name: _activation(name) for name in ("relu", "tanh", "sigmoid")},
    "softmax": _softmax_call,
    "flatten": _flat,
    "permute": _shaped("permute"),
    "transpose": lambda x, dim0, dim1: ("transpose", (x, dim0, dim1)),
    "unflatten": lambda x, dim, sizes: ("unflatten", (x, dim, sizes)),
    **dict.fromkeys(("reshape", "view"), _shaped("reshape")),
    "contiguous": lambda x: ("reshape", (x, Step("shape", (x,)))),
    "size": lambda x, dim: ("item", (Step("shape", (x,)), dim)),
}
