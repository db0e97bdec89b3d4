"""Passes of plans on jax, compiled, to be timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tnlayers.cores.measuring import operands
from tnlayers.errors import TNLayersError
from tnlayers.planning.plan import Plan
from tnlayers_backends.jax import planned
from tnlayers_backends.jax.primitives import OPS


def timed(plan: Plan) -> Callable[[], object]:
    """One pass of a plan's objective on random numbers, finished when it returns.

    Raises:
        TNLayersError: If jax would compute in another dtype, since 64 bits are not switched on.
    """
    dtype = jax.dtypes.canonicalize_dtype(plan.dtype)
    if dtype.name != plan.dtype:
        raise TNLayersError(f"jax computes in {dtype.name} in the place of {plan.dtype}: set jax_enable_x64 first.")
    x, *cores = (jnp.asarray(array, dtype) for array in operands(plan.contraction, plan.dtype))
    arguments: list[Any] = [x, *cores]

    def forward(x: Any, *cores: Any) -> Any:
        return planned.run(plan, x, cores)

    def loss(*arrays: Any) -> Any:
        return jnp.real(forward(*arrays)).sum()

    run = forward
    if plan.objective == "training":
        run = jax.grad(loss, argnums=tuple(range(len(arguments))))
    elif plan.objective == "inference" and plan.sweep is not None and not plan.slices:
        chain = plan.sweep.chain
        arguments = [x, *chain.prepare(OPS, plan.program, cores)]

        def run(x: Any, *matrices: Any) -> Any:
            return chain.run(OPS, x, matrices)

    compiled = jax.jit(run)
    wait: Callable[[Any], object] = jax.block_until_ready
    return lambda: wait(compiled(*arguments))
