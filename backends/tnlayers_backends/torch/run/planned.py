"""Plans on torch: chunks in reused memory with a planned backward pass in eager code, plain operations elsewhere.

`run` executes a plan. The matrices that the batch is multiplied by are prepared by plain differentiable operations,
so autograd brings their gradients to the cores. The chain is one `autograd.Function` where the plan has chunks: it
saves `x` and the matrices only, and its backward pass computes the states again. Anything that traces, forward mode,
double backward and vmap over cores take the same products as plain operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tnlayers.planning.plan import Plan
from tnlayers.planning.sliced import summed
from tnlayers.program.sweep import Sweep, propagate, propagate_back
from tnlayers_backends.torch.run.prepared import Prepared, keepable
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.sliced import directional, in_pieces
from tnlayers_backends.torch.run.stepped import at_a_time, is_one_step, step
from tnlayers_backends.torch.run.workspace import buffer, chunks, total_like


def run(plan: Plan, x: Tensor, cores: Sequence[Tensor], kept: Prepared | None = None) -> Tensor:
    """Apply a plan of a layer.

    Args:
        plan: The plan.
        x: Vectors, with the batch first; axes behind it may be merged or split.
        cores: The cores, in order of declaration.
        kept: Where inference keeps what it prepares from the cores, if it does.

    Returns:
        The result, its entries as in (batch, *out_modes), its axes as they come.
    """
    if plan.sweep is None or not is_eager(x):
        return _plain(plan, x, cores)
    if plan.slices:
        return in_pieces(plan, *_autocast(x, cores))
    if kept is not None and keepable(cores):
        return multiplied(plan, x, kept.matrices(plan, cores))
    if plan.chunk is None:
        return _plain(plan, x, cores)
    if is_one_step(plan, x, cores):
        x, *cores = _autocast(x, cores)
        return step(plan, x, cores, partial(_rows, plan))
    matrices = plan.sweep.chain.prepare(OPS, plan.program, cores)
    return multiplied(plan, x, matrices)


def multiplied(plan: Plan, x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """The batch multiplied by prepared matrices, in chunks where the plan says so."""
    assert plan.sweep is not None
    if plan.chunk is None or x.is_complex():  # a complex gradient wants conjugates, which autograd knows of
        return _chain(plan.sweep, x, matrices)
    x, *matrices = _autocast(x, matrices)
    rows = x.reshape(-1, plan.sweep.chain.links[0].before).contiguous()
    chunk = at_a_time(plan, len(rows))
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
        y: Tensor = _Carry.apply(plan.sweep, chunk, rows, *matrices)  # type: ignore[no-untyped-call]
    else:
        y = _Carry.forward(plan.sweep, chunk, rows, *matrices)
    return y


def is_eager(x: Tensor) -> bool:
    """Whether this is plain eager execution: nothing traces, and `x` is a tensor like any other.

    A symbolic size is what tracers that do not say so leave to be seen: chunks would freeze at the traced batch.
    """
    return not (
        torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or type(x) not in (Tensor, torch.nn.Parameter)
        or type(x.numel()) is not int
    )


def _plain(plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> Tensor:
    y: Tensor = summed(OPS, plan, x, cores) if plan.slices else plan.program.run(OPS, [x, *cores])
    return y


def _rows(plan: Plan, x: Tensor, *cores: Tensor) -> Tensor:
    """The same on rows, (batch, out)."""
    assert plan.sweep is not None
    return _plain(plan, x, cores).reshape(x.shape[0], plan.sweep.chain.links[-1].after)


def _chain(sweep: Sweep, x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    y: Tensor = sweep.chain.run(OPS, x, matrices)
    return y


def _autocast(x: Tensor, matrices: Sequence[Tensor]) -> list[Tensor]:
    """What autocast would do to the operands of a product: a custom function has to do it itself."""
    device = x.device.type  # torch.is_autocast_enabled raises for devices without autocast, such as meta
    tensors = [x, *matrices]
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return [t.to(dtype) if t.is_floating_point() and t.dtype != torch.float64 else t for t in tensors]


class _Carry(torch.autograd.Function):
    """Rows (batch, in) multiplied by prepared matrices, (batch, out)."""

    @staticmethod
    def forward(sweep: Sweep, chunk: int, x: Tensor, *matrices: Tensor) -> Tensor:
        y = x.new_empty((len(x), sweep.chain.links[-1].after))
        memory = buffer(sweep.forward * min(chunk, len(x)), x)
        for some, space in chunks(memory, chunk, len(x)):
            propagate(OPS, sweep, x[some], matrices, space, y[some])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.sweep, ctx.chunk, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        # Read before memory is taken: a checkpoint runs forward passes at this moment.
        x, *matrices = ctx.saved_tensors
        if torch.is_grad_enabled():  # only for double backward and torch.func
            return None, None, *_plain_backward(ctx.sweep, x, matrices, gy)
        sweep, chunk = ctx.sweep, ctx.chunk
        wants_x, *wanted = ctx.needs_input_grad[2:]
        gx = torch.empty_like(x) if wants_x else None
        totals = [total_like(m) if want else None for m, want in zip(matrices, wanted, strict=True)]
        gy = gy.contiguous()
        memory = buffer(sweep.both * min(chunk, len(x)), x)
        for some, space in chunks(memory, chunk, len(x)):
            into = None if gx is None else gx[some]
            propagate_back(OPS, sweep, x[some], matrices, space, gy[some], into, totals, want_x=wants_x)
        pairs = zip(totals, matrices, strict=True)
        return None, None, gx, *(None if total is None else total.to(matrix.dtype) for total, matrix in pairs)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return directional(_function(ctx.sweep), ctx.saved_tensors, tangents[2:])

    @staticmethod
    def vmap(info: Any, in_dims: Any, sweep: Sweep, chunk: int, x: Tensor, *matrices: Tensor) -> tuple[Tensor, int]:
        mapped_x, *mapped = in_dims[2:]
        if all(dim is None for dim in mapped):  # only rows are mapped: they are more rows
            x = x.movedim(mapped_x, 0)
            y: Tensor = _Carry.apply(sweep, chunk, x.reshape(-1, x.shape[-1]).contiguous(), *matrices)  # type: ignore[no-untyped-call]
            return y.reshape(*x.shape[:-1], y.shape[-1]), 0
        return torch.vmap(_function(sweep), in_dims=tuple(in_dims[2:]))(x, *matrices), 0


def _function(sweep: Sweep) -> Any:
    """The same map as plain operations."""

    def plain(x: Tensor, *matrices: Tensor) -> Tensor:
        return _chain(sweep, x, matrices).reshape(x.shape[0], sweep.chain.links[-1].after)

    return plain


def _plain_backward(sweep: Sweep, x: Tensor, matrices: Sequence[Tensor], gy: Tensor) -> tuple[Tensor, ...]:
    """The gradients by operations that have gradients themselves."""
    gradients: tuple[Tensor, ...] = torch.func.vjp(_function(sweep), x, *matrices)[1](gy)
    return gradients
