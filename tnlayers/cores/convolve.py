"""How a convolution plan runs on any backend: small convolutions and products, shapes taken from the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from math import prod
from operator import add

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.declare.window import Window
from tnlayers.planning.conv_plan import ConvPlan, ConvStep, Route
from tnlayers.program.program import Array


def pad_ahead(ops: Arithmetic, x: Array, window: Window) -> Array:
    """The input padded as the window asks, where the convolution itself cannot do it."""
    return ops.surround(x, window.padding, window.mode) if window.ahead else x


def convolve(ops: Arithmetic, x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    """The dense convolution of an input that is padded ahead already."""
    return ops.convolve(x, weight, bias, window.stride, window.within, window.dilation, groups)


def shaped(ops: Arithmetic, matrix: Array, kernel: Sequence[int]) -> Array:
    """A kernel's matrix (out_channels, kernel positions times channels) as (out_channels, channels, *kernel)."""
    channels = matrix.shape[1] // prod(kernel)
    axes = (0, len(kernel) + 1, *range(1, len(kernel) + 1))
    return ops.permute(ops.reshape(matrix, (matrix.shape[0], *kernel, channels)), axes)


def kernels(ops: Arithmetic, plan: ConvPlan, cores: Sequence[Sequence[Array]]) -> Iterator[Array]:
    """The small kernels of all routes' steps, in order, each made of some cores.

    Args:
        ops: The primitives of the cores' backend.
        plan: A plan with routes.
        cores: The cores of each network.
    """
    for route, own in zip(plan.routes, cores, strict=True):
        yield from (step.kernel.program.run(ops, [own[k] for k in step.cores]) for step in route.steps)


def run_routes(ops: Arithmetic, plan: ConvPlan, x: Array, made: Iterable[Array]) -> Array:
    """The sum of all networks' results, each by its own steps.

    Args:
        ops: The primitives of the arrays' backend.
        plan: A plan with routes.
        x: The input, (batch, channels, *positions), padded ahead already.
        made: What `kernels` makes for the plan.
    """
    window, rest = plan.convolution.window, iter(made)
    return reduce(add, [_run_route(ops, route, x, rest, window) for route in plan.routes])


def flattened(ops: Arithmetic, x: Array) -> Array:
    """Maps (batch, channels, *positions) as vectors of features (*positions, channels)."""
    return ops.reshape(ops.permute(x, (0, *range(2, x.ndim), 1)), (x.shape[0], -1))


def unflattened(ops: Arithmetic, y: Array, positions: Sequence[int], channels: int) -> Array:
    """Vectors of features (*positions, channels) as maps (batch, channels, *positions)."""
    n = len(positions)
    return ops.permute(ops.reshape(y, (y.shape[0], *positions, channels)), (0, n + 1, *range(1, n + 1)))


def _run_route(ops: Arithmetic, route: Route, x: Array, rest: Iterator[Array], window: Window) -> Array:
    for step in route.steps:
        kernel = next(rest)
        x = _permuted(ops, x, step.axes, step.order)
        x = _move(ops, step, x, kernel, window) if step.dims else _product(ops, step, x, kernel)
    return _permuted(ops, x, route.axes, route.order)


def _permuted(ops: Arithmetic, x: Array, axes: tuple[int, ...], order: tuple[int, ...] | None) -> Array:
    """The channels in another order of their axes."""
    if order is None:
        return x
    batch, channels, *positions = x.shape
    tail = range(len(order) + 1, len(order) + 1 + len(positions))
    x = ops.permute(ops.reshape(x, (batch, *axes, *positions)), (0, *(k + 1 for k in order), *tail))
    return ops.reshape(x, (batch, channels, *positions))


def _product(ops: Arithmetic, step: ConvStep, x: Array, kernel: Array) -> Array:
    """A product of matrices at each position."""
    before, groups, summed, new, after = step.channels
    batch, _, *positions = x.shape
    stacks = batch * before
    columns = ops.reshape(x, (stacks * groups, summed, after * prod(positions)))
    matrices = ops.expand(ops.reshape(kernel, (groups, new, summed)), stacks)
    y = ops.matmul(ops.reshape(matrices, (stacks * groups, new, summed)), columns)
    return ops.reshape(y, (batch, before * groups * new * after, *positions))


def _move(ops: Arithmetic, step: ConvStep, x: Array, kernel: Array, window: Window) -> Array:
    """A convolution along the step's dimensions."""
    before, groups, summed, new, _ = step.channels
    batch, _, *positions = x.shape
    y = ops.convolve(
        ops.reshape(x, (batch * before, groups * summed, *positions)),
        ops.reshape(kernel, (groups * new, summed, *step.only(window.kernel, 1))),
        None,
        step.only(window.stride, 1),
        step.only(window.within, 0),
        step.only(window.dilation, 1),
        groups,
    )
    return ops.reshape(y, (batch, before * groups * new, *y.shape[2:]))
