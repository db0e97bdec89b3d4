"""Passes of plans on numpy, to be timed."""

from __future__ import annotations

from collections.abc import Callable

from tnlayers.cores.measuring import operands
from tnlayers.errors import TNLayersError
from tnlayers.planning.plan import Plan
from tnlayers_backends.numpy.linear import run
from tnlayers_backends.numpy.primitives import OPS


def timed(plan: Plan) -> Callable[[], object]:
    """One pass of a plan's objective, on random numbers.

    Raises:
        TNLayersError: For training, which numpy does not do.
    """
    if plan.objective == "training":
        raise TNLayersError("numpy has no backward pass to time: take backend='torch' or 'jax', or another objective.")
    x, *cores = operands(plan.contraction, plan.dtype)
    if plan.objective == "inference" and plan.sweep is not None and not plan.slices:
        chain = plan.sweep.chain
        matrices = chain.prepare(OPS, plan.program, cores)
        return lambda: chain.run(OPS, x, matrices)
    return lambda: run(plan, x, cores)
