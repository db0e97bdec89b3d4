"""Plans on jax: where a plan has chunks, a loop over some rows at a time, with the planned backward pass under it.

XLA keeps every state of a program for the backward pass, and a compiled program takes its memory anew at each call. A
plan with chunks runs the batch by `jax.lax.scan` instead, and the states are computed again on the way back: the same
sweep as on torch (`tnlayers.program.sweep`). There are two ways to differentiate it, and both need the same memory:

    planned    `jax.custom_vjp` with the sweep back, the faster one (docs/backends.md). jax refuses forward mode
               through it, and takes all else.
    by jax     the loop's body under `jax.checkpoint`, differentiated by jax itself; forward mode too.

Plans without chunks are plain operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from tnlayers.errors import TNLayersError
from tnlayers.planning.plan import Plan
from tnlayers.planning.sliced import summed
from tnlayers.planning.slices import pieces
from tnlayers.program.sweep import NoWorkspace, Sweep, propagate, propagate_back
from tnlayers_backends.jax.primitives import OPS

Rows: TypeAlias = tuple[jax.Array, ...]


_NO_FORWARD_MODE = (
    "Forward mode (jax.jvp, linearize, jacfwd) met {rows} vectors that are processed {chunk} at a time with a "
    "backward pass of its own, which jax can only pull back. Differentiate `layer.forward_mode()` instead: the same "
    "map in the same memory, differentiated by jax itself; its training steps take a few per cent longer."
)


def run(plan: Plan, x: jax.Array, cores: Sequence[jax.Array], *, forward_mode: bool = False) -> jax.Array:
    """Apply a plan of a layer.

    Args:
        plan: The plan.
        x: Vectors (..., in), the number of features padded as the plan wants.
        cores: The cores, in order of declaration.
        forward_mode: Whether jax is to differentiate by itself, so that jvp passes.

    Returns:
        The result, (batch, *out_modes).

    Raises:
        TNLayersError: If forward mode meets the planned backward pass.
    """
    if plan.sweep is None or not _in_chunks(plan) or any(type(size) is not int for size in x.shape):
        # A symbolic batch cannot be cut into chunks.
        y: jax.Array = summed(OPS, plan, x, cores) if plan.slices else plan.program.run(OPS, [x, *cores])
        return y
    chain, dtype = plan.sweep.chain, jnp.result_type(x, *cores)
    rows, cores = x.reshape(-1, chain.links[0].before).astype(dtype), [core.astype(dtype) for core in cores]
    assert plan.chunk is not None
    carried = partial(_by_jax if forward_mode else _planned, plan.sweep, plan.chunk, rows)
    try:
        out = _in_pieces(plan, carried, cores)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TNLayersError(_NO_FORWARD_MODE.format(rows=len(rows), chunk=plan.chunk)) from error
    return out.reshape(len(rows), *chain.shape[1:])


def _in_chunks(plan: Plan) -> bool:
    """Whether the batch is cut into chunks: not where that is for the memory of a rebuilt weight, which XLA manages."""
    return plan.chunk is not None and (
        plan.preparation is None or plan.sweep is None or len(plan.sweep.chain.links) > 1
    )


def _in_pieces(plan: Plan, carried: Callable[[list[jax.Array]], jax.Array], cores: Sequence[jax.Array]) -> jax.Array:
    """The rows multiplied by prepared matrices; where bonds are sliced, a loop over the pieces that adds the results.

    Nothing of a piece is saved for the backward pass but its number.
    """
    assert plan.sweep is not None
    chain = plan.sweep.chain
    if not plan.slices:
        return carried(chain.prepare(OPS, plan.program, cores))
    sizes = plan.part.sizes

    @partial(jax.checkpoint, prevent_cse=False)
    def piece(number: jax.Array, cores: Sequence[jax.Array]) -> jax.Array:
        numbers = jnp.unravel_index(number, [parts for _, parts in plan.slices])
        first = {i: k * sizes[i] for (i, _), k in zip(plan.slices, numbers, strict=True)}
        own = [
            jax.lax.dynamic_slice(core, [first.get(i, 0) for i in indices], [sizes[i] for i in indices])
            for core, indices in zip(cores, plan.contraction.operands[1:], strict=True)
        ]
        return carried(chain.prepare(OPS, plan.program, own))

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        return total + piece(number, cores), None

    start = piece(jnp.zeros((), int), cores)
    total: jax.Array = jax.lax.scan(add, start, jnp.arange(1, pieces(plan.slices)))[0]
    return total


def uses_chunks() -> bool:
    """Whether plans that are chosen by batch size are run in chunks here: on one processor, for which they are made.

    An accelerator wants the whole batch at once, and a batch that is spread over devices would be gathered for a loop.
    """
    return jax.default_backend() == "cpu" and jax.device_count() == 1


@partial(jax.jit, static_argnums=(0, 1))
def _by_jax(sweep: Sweep, chunk: int, x: jax.Array, matrices: list[jax.Array]) -> jax.Array:
    """Rows (batch, in) multiplied by prepared matrices, (batch, out)."""

    # Within a loop nothing can be found equal to what is computed again, so jax need not guard against it.
    @partial(jax.checkpoint, prevent_cse=False)
    def some(rows: jax.Array, matrices: list[jax.Array]) -> jax.Array:
        y = propagate(OPS, sweep, rows, matrices, NoWorkspace(), None)
        return OPS.reshape(y, (len(rows), sweep.chain.links[-1].after))

    y: jax.Array = _scan_chunks(lambda _, rows: (None, some(*rows, matrices)), None, (x,), chunk)[1]
    return y


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _planned(sweep: Sweep, chunk: int, x: jax.Array, matrices: list[jax.Array]) -> jax.Array:
    """As `_by_jax`."""
    y: jax.Array = _by_jax(sweep, chunk, x, matrices)
    return y


def _forward(sweep: Sweep, chunk: int, x: jax.Array, matrices: list[jax.Array]) -> tuple[jax.Array, Any]:
    return _by_jax(sweep, chunk, x, matrices), (x, matrices)


@partial(jax.jit, static_argnums=(0, 1))
def _backward(sweep: Sweep, chunk: int, saved: Any, gy: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    x, matrices = saved

    def some(totals: list[Any], rows: Rows) -> tuple[list[Any], jax.Array]:
        x, gy = rows
        gx, totals = propagate_back(OPS, sweep, x, matrices, NoWorkspace(), gy, None, totals)
        assert gx is not None
        return totals, OPS.reshape(gx, x.shape)

    # Sums over many chunks are kept in single precision at least.
    totals: list[Any] = [jnp.zeros(m.shape, jnp.promote_types(m.dtype, jnp.float32)) for m in matrices]
    totals, gx = _scan_chunks(some, totals, (x, gy), chunk)
    return gx, [total.astype(matrix.dtype) for total, matrix in zip(totals, matrices, strict=True)]


_planned.defvjp(_forward, _backward)


def _scan_chunks(
    body: Callable[[Any, Rows], tuple[Any, jax.Array]], total: Any, x: Rows, chunk: int
) -> tuple[Any, jax.Array]:
    """As `jax.lax.scan` over chunks of rows; those that fill none come last."""
    batch = len(x[0])
    whole, parts = batch - batch % chunk, []
    if whole:
        chunks = tuple(rows[:whole].reshape(-1, chunk, rows.shape[1]) for rows in x)
        total, y = jax.lax.scan(body, total, chunks)
        parts.append(y.reshape(whole, y.shape[-1]))
    if whole < batch or not parts:
        total, y = body(total, tuple(rows[whole:] for rows in x))
        parts.append(y)
    return total, parts[0] if len(parts) == 1 else jnp.concatenate(parts)
