"""Timing plans with torch on the processor: what `tune=True` believes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from tnlayers.planning.plan import Plan
from tnlayers_backends.torch.run import planned
from tnlayers_backends.torch.run.primitives import OPS

_SECONDS = 0.4  # spent on all plans together, beside two first runs of each
_ROUNDS = 50  # at most; three at least


def threads() -> int:
    """How many threads torch computes with."""
    return torch.get_num_threads()


def seconds(plans: Sequence[Plan]) -> list[float]:
    """The shortest seconds of each plan's objective, on random numbers.

    The plans take turns, so that what else the machine does falls on all of them alike;
    the shortest run is the one that was disturbed least.

    Args:
        plans: Plans of one contraction with a batch, one objective and one dtype.
    """
    x, *cores = _operands(plans[0])
    runs = [_run(plan, x, cores) for plan in plans]
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
        run()
    begin = perf_counter()
    while len(times[0]) < 3 or (len(times[0]) < _ROUNDS and perf_counter() - begin < _SECONDS):
        for run, taken in zip(runs, times, strict=True):
            start = perf_counter()
            run()
            taken.append(perf_counter() - start)
    return [min(taken) for taken in times]


def timed(plan: Plan) -> Callable[[], object]:
    """One pass of a plan's objective on random numbers, for `Plan.measure`."""
    x, *cores = _operands(plan)
    return _run(plan, x, cores)


def _operands(plan: Plan) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)  # whatever the numbers are, the global generator is not touched
    return [
        torch.randn([plan.contraction.sizes[i] for i in indices], generator=generator).to(getattr(torch, plan.dtype))
        for indices in plan.contraction.operands
    ]


def _run(plan: Plan, x: Tensor, cores: Sequence[Tensor]) -> Callable[[], object]:
    """One pass of a plan's objective."""
    if plan.objective == "training":
        leaves = [tensor.clone().requires_grad_() for tensor in (x, *cores)]
        with torch.no_grad():
            grad_y = torch.ones_like(planned.run(plan, x, cores))
        return lambda: torch.autograd.grad(planned.run(plan, leaves[0], leaves[1:]), leaves, grad_y)
    if plan.objective == "inference" and plan.sweep is not None:
        with torch.no_grad():
            matrices = plan.sweep.chain.prepare(OPS, plan.program, cores)
        return torch.no_grad()(lambda: planned.multiplied(plan, x, matrices))
    return torch.no_grad()(lambda: planned.run(plan, x, cores))
