"""A step of training as one operation of autograd: cores prepared, rows multiplied by them, and all of it back.

The forward pass writes what it prepares from the cores into memory that lasts until the backward pass; states are
computed again there, as always in chunks. Autograd records one operation, whatever the plan does, and no array between
the cores and the output is new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tnlayers.planning.plan import Plan
from tnlayers.program.preparing import Gradients, prepare
from tnlayers.program.sweep import propagate, propagate_back
from tnlayers_backends.torch.run.leased import lease
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.workspace import HALVES, buffer, chunks, total_like


def is_one_step(plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> bool:
    """Whether a plan runs as one operation: its gradients are asked for, by the ordinary backward pass."""
    return (
        plan.preparation is not None
        and plan.chunk is not None
        and torch.is_grad_enabled()
        and not x.is_complex()
        and (x.requires_grad or any([core.requires_grad for core in cores]))
        and {*map(type, cores)} <= {Tensor, torch.nn.Parameter}
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def step(plan: Plan, x: Tensor, cores: Sequence[Tensor], plain: Callable[..., Tensor]) -> Tensor:
    """Apply a plan so.

    Args:
        plan: The plan, in chunks.
        x: Vectors, with the batch first; axes behind it may be merged or split.
        cores: The cores, all of one dtype.
        plain: The same map as plain operations, for gradients of gradients.

    Returns:
        The result, (batch, out).
    """
    assert plan.sweep is not None
    rows = x.reshape(-1, plan.sweep.chain.links[0].before).contiguous()
    y: Tensor = _Step.apply(plan, plain, rows, *cores)  # type: ignore[no-untyped-call]
    return y


class _Step(torch.autograd.Function):
    """Rows (batch, in) times the weight of some cores, (batch, out)."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, plain: Callable[..., Tensor], x: Tensor, *cores: Tensor) -> Tensor:
        sweep, todo = plan.sweep, plan.preparation
        assert sweep is not None
        assert todo is not None
        lasting = lease(todo.lasting, cores[0])
        y = x.new_empty((len(x), sweep.chain.links[-1].after))
        chunk = at_a_time(plan, len(x))
        memory = buffer(todo.forward + sweep.forward * min(chunk, len(x)), x)
        matrices = prepare(OPS, todo, cores, lasting, memory[: todo.forward])
        memory = memory[todo.forward :]
        for some, space in chunks(memory, chunk, len(x)):
            propagate(OPS, sweep, x[some], matrices, space, y[some])
        ctx.plan, ctx.plain = plan, plain
        ctx.save_for_backward(x, lasting, *cores)  # hooks of saved tensors see all that lasts
        return y

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        # Read before memory is taken: a checkpoint runs forward passes at this moment.
        x, lasting, *cores = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # only for double backward
            return None, None, *torch.func.vjp(ctx.plain, x, *cores)[1](gy)
        sweep, todo = ctx.plan.sweep, ctx.plan.preparation
        chunk = at_a_time(ctx.plan, len(x))
        rows = min(chunk, len(x))
        memory = buffer(todo.backward + sweep.both * rows, x)
        scratch, memory = memory[: todo.backward], memory[todo.backward :]
        new = [
            torch.empty_like(core, memory_format=torch.contiguous_format) if want else None
            for core, want in zip(cores, wanted, strict=True)
        ]
        found = Gradients(OPS, todo, cores, lasting, scratch, new)
        matrices, targets = found.matrices(), found.totals()
        links = sweep.chain.links
        totals = [_total(target, len(x), shared=link.spread) for target, link in zip(targets, links, strict=True)]
        gx = torch.empty_like(x) if wants_x else None
        gy = gy.contiguous()
        added = x.dtype in HALVES
        for some, space in chunks(memory, chunk, len(x)):
            into = None if gx is None else gx[some]
            propagate_back(OPS, sweep, x[some], matrices, space, gy[some], into, totals, want_x=wants_x, added=added)
            added = True
        for target, total in zip(targets, totals, strict=True):
            if target is not None and total is not target:
                target.copy_(total)
        found.back()
        return None, None, gx, *new


def at_a_time(plan: Plan, count: int) -> int:
    """How many rows are processed at a time: all of them where there is one product, which leaves no state behind."""
    assert plan.sweep is not None
    assert plan.chunk is not None
    return max(count, 1) if len(plan.sweep.chain.links) == 1 else plan.chunk


def _total(target: Tensor | None, rows: int, *, shared: bool) -> Tensor | None:
    """Where the gradient of a matrix is added up; in half precision it is added up in single."""
    if target is None:
        return None
    if target.dtype in HALVES:
        return total_like(target)
    return target.zero_() if shared or not rows else target
