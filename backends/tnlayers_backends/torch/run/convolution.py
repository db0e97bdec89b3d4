"""How a convolution plan runs on torch tensors: plain differentiable operations, shapes taken from the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.declare.window import Window
from tnlayers.planning.conv_plan import ConvPlan, ConvStep, Route
from tnlayers_backends.torch.run.primitives import OPS

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def pad_ahead(x: Tensor, window: Window) -> Tensor:
    """The input padded as the window asks, where the convolution itself cannot do it."""
    if not window.ahead:
        return x
    amounts = [n for pair in reversed(window.padding) for n in pair]  # torch's order: last dimension first
    return functional.pad(x, amounts, mode="constant" if window.mode == "zeros" else window.mode)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> Tensor:
    """The dense convolution of an input that is padded ahead already."""
    function = _CONVOLVE[len(window.kernel)]
    return function(x, weight, bias, window.stride, window.within, window.dilation, groups)


def kernels(plan: ConvPlan, cores: Sequence[Sequence[Tensor]]) -> Iterator[Tensor]:
    """The small kernels of all routes' steps, in order, each made of some cores.

    Args:
        plan: A plan with routes.
        cores: The cores of each network.
    """
    for route, own in zip(plan.routes, cores, strict=True):
        yield from (step.kernel.program.run(OPS, [own[k] for k in step.cores]) for step in route.steps)


def run_routes(plan: ConvPlan, x: Tensor, made: Iterable[Tensor]) -> Tensor:
    """The sum of all networks' results, each by its own steps.

    Args:
        plan: A plan with routes.
        x: The input, (batch, channels, *positions), padded ahead already.
        made: What `kernels` makes for the plan.
    """
    window, rest = plan.convolution.window, iter(made)
    results = [_run_route(route, x, rest, window) for route in plan.routes]
    total = results[0]
    for result in results[1:]:
        total = total + result
    return total


def _run_route(route: Route, x: Tensor, rest: Iterator[Tensor], window: Window) -> Tensor:
    for step in route.steps:
        kernel = next(rest)
        x = _permuted(x, step.axes, step.order)
        x = _move(step, x, kernel, window) if step.dims else _product(step, x, kernel)
    return _permuted(x, route.axes, route.order)


def _permuted(x: Tensor, axes: tuple[int, ...], order: tuple[int, ...] | None) -> Tensor:
    """The channels in another order of their axes."""
    if order is None:
        return x
    batch, channels, *positions = x.shape
    tail = range(len(order) + 1, len(order) + 1 + len(positions))
    x = x.reshape(batch, *axes, *positions).permute(0, *(k + 1 for k in order), *tail)
    return x.reshape(batch, channels, *positions)


def _product(step: ConvStep, x: Tensor, kernel: Tensor) -> Tensor:
    """A product of matrices at each position. `bmm` takes the expanded kernel without copying it, as no other does."""
    before, groups, summed, new, after = step.channels
    batch, _, *positions = x.shape
    stacks = batch * before
    columns = x.reshape(stacks * groups, summed, after * prod(positions))
    matrices = kernel.reshape(groups, new, summed).expand(stacks, groups, new, summed)
    y = torch.bmm(matrices.reshape(stacks * groups, new, summed), columns)
    return y.reshape(batch, before * groups * new * after, *positions)


def _move(step: ConvStep, x: Tensor, kernel: Tensor, window: Window) -> Tensor:
    """A convolution along the step's dimensions."""
    before, groups, summed, new, _ = step.channels
    batch, _, *positions = x.shape
    y = _CONVOLVE[len(positions)](
        x.reshape(batch * before, groups * summed, *positions),
        kernel.reshape(groups * new, summed, *step.only(window.kernel, 1)),
        None,
        step.only(window.stride, 1),
        step.only(window.within, 0),
        step.only(window.dilation, 1),
        groups,
    )
    return y.reshape(batch, before * groups * new, *y.shape[2:])
