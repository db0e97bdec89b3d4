"""The candidates that the planner compared, ranked, and why the first one won."""

from __future__ import annotations

from dataclasses import replace

from tnlayers.machine.saved_rates import machine
from tnlayers.planning.paths import candidates
from tnlayers.planning.plan import Plan
from tnlayers.pricing.seconds import Estimator
from tnlayers.program.layout import assemble


def ranked(taken: Plan) -> list[Plan]:
    """The plan that was taken and every other candidate, each in its best chunks, in order of estimated seconds.

    Args:
        taken: A plan; what it compares with are the candidates of "auto" for the same question.

    Example:
        >>> import tnlayers as tnl
        >>> plans = ranked(tnl.plan("mpo(in=4x7, out=2x5, bond=3)", batch=8))
        >>> len(plans) > 1, plans[0].seconds <= plans[1].seconds
        (True, True)
    """
    rates = machine(taken.device, taken.dtype)
    asked = {"objective": taken.objective, "itemsize": taken.itemsize, "machine": rates}
    plans = [taken]
    for label, path, _ in candidates(taken.contraction, "auto", **asked):  # type: ignore[arg-type]  # as declared there
        if path == taken.path:
            continue
        program = assemble(taken.contraction, path)
        estimator = Estimator(program, taken.contraction, taken.itemsize, taken.objective, rates)
        chunk = min(estimator.chunk_sizes(), key=estimator.seconds, default=None)
        plans.append(replace(taken, path=path, chunk=chunk or None, slices=(), stacked=True, found_by=label))
    return sorted(plans, key=lambda plan: plan.seconds)


def why(taken: Plan, plans: list[Plan]) -> str:
    """Why a plan was taken among others, in a sentence.

    Args:
        taken: The plan.
        plans: What it was compared with, perhaps itself among them.
    """
    others = [plan for plan in plans if plan.path != taken.path]
    if not others:
        return "No other order was worth comparing."
    if taken.slices or taken.seconds > min(plan.seconds for plan in others):
        return "Others are estimated to be faster; this one was taken for the memory limit, or by the optimizer chosen."
    fewest = min(others, key=lambda plan: plan.flops)
    second = min(others, key=lambda plan: plan.seconds)
    text = (
        f"It has the least estimated time; the next, found by {second.found_by!r}, takes "
        f"{second.seconds / taken.seconds:.3g}x as long"
    )
    if fewest.flops >= taken.flops:
        return f"{text}; no other takes fewer flops."
    return (
        f"{text}. {fewest.found_by!r} takes {fewest.flops / taken.flops:.3g}x its flops, but moves "
        f"{fewest.cost.bytes / taken.cost.bytes:.3g}x its bytes, in {len(fewest.path)} products whose shapes are "
        f"estimated to be {fewest.seconds / taken.seconds:.3g}x as slow."
    )
