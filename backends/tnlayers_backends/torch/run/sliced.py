"""Plans with slices on torch: one piece of the sum over a bond after the other, forward and back.

Between the passes nothing is saved but `x` and the cores: the backward pass slices the cores of each piece again,
prepares them, propagates the rows back with states computed anew, and adds what comes to the gradients of the cores'
slices. So whatever the number of pieces, the memory in use is that of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from tnlayers.planning.plan import Plan
from tnlayers.planning.sliced import piece_places, sliced_cores, summed
from tnlayers.program.sweep import propagate, propagate_back
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.workspace import Rows, buffer, total_like


def in_pieces(plan: Plan, x: Tensor, *cores: Tensor) -> Tensor:
    """Apply a plan with slices.

    Args:
        plan: The plan.
        x: Vectors, with the batch first; axes behind it may be merged or split.
        *cores: The cores, in order of declaration.

    Returns:
        The result, (batch, *out_modes).
    """
    assert plan.sweep is not None
    if x.is_complex() or torch._C._are_functorch_transforms_active():
        return _plain(plan)(x, *cores)
    chain = plan.sweep.chain
    rows = x.reshape(-1, chain.links[0].before).contiguous()
    y: Tensor = _Pieces.apply(plan, rows, *cores)  # type: ignore[no-untyped-call]
    return y.reshape(len(rows), *chain.shape[1:])


def _plain(plan: Plan) -> Callable[..., Tensor]:
    """The same map as plain operations."""

    def plain(x: Tensor, *cores: Tensor) -> Tensor:
        y: Tensor = summed(OPS, plan, x, cores)
        return y

    return plain


class _Pieces(torch.autograd.Function):
    """Rows (batch, in) times the weight of some cores, (batch, out)."""

    @staticmethod
    def forward(plan: Plan, x: Tensor, *cores: Tensor) -> Tensor:
        sweep, chunk = plan.sweep, plan.chunk
        assert sweep is not None
        assert chunk is not None
        after = sweep.chain.links[-1].after
        y = x.new_empty((len(x), after))
        memory = buffer((sweep.forward + after) * min(chunk, len(x)), x)
        first = True
        for own in sliced_cores(plan, cores, Tensor.contiguous):
            matrices = sweep.chain.prepare(OPS, plan.program, own)
            for rows, into in _rows(chunk, x, y):
                space = Rows(memory, len(rows))
                part = into if first else space.take((sweep.forward, after)).view(into.shape)
                propagate(OPS, sweep, rows, matrices, space, part)
                if not first:
                    into.add_(part)
            first = False
            del own, matrices  # before the next are made
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        plan = ctx.plan
        x, *cores = ctx.saved_tensors
        if torch.is_grad_enabled():  # only for double backward
            plain = _plain(plan)
            back = torch.func.vjp(lambda x, *cores: plain(x, *cores).reshape(gy.shape), x, *cores)[1]
            return None, *back(gy)
        gx, totals = torch.empty_like(x), [torch.zeros_like(core) for core in cores]
        places = piece_places(plan)
        first = True
        for own in sliced_cores(plan, cores, Tensor.contiguous):
            found = _piece_back(plan, x, own, gy, gx, first=first)
            for total, place, gradient in zip(totals, next(places), found, strict=True):
                (total if place is None else total[place]).add_(gradient)
            first = False
            del own, found, gradient  # before the next are made
        wanted = ctx.needs_input_grad[1:]
        return None, *(g if want else None for g, want in zip((gx, *totals), wanted, strict=True))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return directional(_plain(ctx.plan), ctx.saved_tensors, tangents[1:]).flatten(1)


def directional(run: Callable[..., Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> Tensor:
    """The derivative of a map that is linear in each input by itself, along tangents of which one at least is given.

    By the product rule rather than by `torch.func.jvp`, which torch refuses within its own forward mode.
    """
    along = [(k, tangent) for k, tangent in enumerate(tangents) if tangent is not None]
    return reduce(torch.add, [run(*inputs[:k], tangent, *inputs[k + 1 :]) for k, tangent in along])


def _rows(chunk: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some rows of each at a time."""
    for start in range(0, len(tensors[0]), chunk):
        yield tuple(tensor[start : start + chunk] for tensor in tensors)


def _piece_back(
    plan: Plan, x: Tensor, cores: Sequence[Tensor], gy: Tensor, gx: Tensor, *, first: bool
) -> tuple[Tensor, ...]:
    """One piece back: its part of the input's gradient goes to `gx`, its cores' gradients are returned."""
    sweep, chunk = plan.sweep, plan.chunk
    assert sweep is not None
    assert chunk is not None
    own = [core.detach().requires_grad_() for core in cores]
    with torch.enable_grad():
        matrices = sweep.chain.prepare(OPS, plan.program, own)
    plain = [matrix.detach() for matrix in matrices]
    totals = [total_like(matrix) for matrix in plain]
    memory = buffer((sweep.both + x.shape[1]) * min(chunk, len(x)), x)
    for rows, gy_rows, into in _rows(chunk, x, gy, gx):
        space = Rows(memory, len(rows))
        part = into if first else space.take((sweep.both, x.shape[1])).view(into.shape)
        propagate_back(OPS, sweep, rows, plain, space, gy_rows.contiguous(), part, totals)
        if not first:
            into.add_(part)
    found = [total.to(matrix.dtype) for total, matrix in zip(totals, plain, strict=True)]
    return torch.autograd.grad(matrices, own, found)
