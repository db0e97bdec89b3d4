"""What a plan is asked for in the explorer, and the answer as plain data for its front end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tnlayers.errors import TNLayersError
from tnlayers.explore.prices import DTYPE
from tnlayers.explore.searches import optimizer, search_text
from tnlayers.explore.subjects import Part
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.lowered import Objective
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import Plan
from tnlayers.planning.ranking import ranked, why
from tnlayers.pricing.limits import PREPARED_LIMIT

OBJECTIVES: tuple[Objective, ...] = ("forward", "inference", "training")
LIMITS = ("1/2", "1/4", "1/16")  # of the memory that the plan without a limit takes
AXIS = tuple(2**k for k in range(13))  # batch sizes of the axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan is asked for.

    Attributes:
        batch: The batch size.
        optimizer: "auto", an optimizer of opt_einsum, or "cotengra".
        objective: What is to be fast.
        limit: "none", or a fraction of the memory that the plan without a limit takes.
        ranked: Whether the other candidates are reported too.
    """

    batch: int
    optimizer: str = "auto"
    objective: Objective = "forward"
    limit: str = "none"
    ranked: bool = False


def planned(part: Part, asked: Question, finder: Optimizer | None = None) -> Plan:
    """The planner's answer.

    Args:
        part: What is contracted.
        asked: What for.
        finder: The optimizer, where it is at hand already.

    Raises:
        TNLayersError: If there is no such optimizer, or no plan keeps the limit.
    """
    contraction = part.contraction(asked.batch)
    finder = optimizer(asked.optimizer) if finder is None else finder
    about: dict[str, Any] = {
        "objective": asked.objective if part.einsum is None else "forward",
        "dtype": DTYPE,
        "title": part.title,
        "features": part.features,
    }
    free = plan_contraction(contraction, optimize=finder, **about)
    if callable(finder):  # a limit is kept on the path that was found, not on that of another search
        finder = free.linear_path
    if asked.limit == "none":
        return free
    most = int(Fraction(asked.limit) * free.memory)
    return plan_contraction(contraction, optimize=finder, memory_limit=most, **about)


def answer(part: Part, asked: Question) -> dict[str, Any]:
    """The same as plain data; a refusal is reported in its place."""
    about = {
        "batch": asked.batch,
        "optimizer": asked.optimizer,
        "objective": asked.objective,
        "limit": asked.limit,
    }
    try:
        finder = optimizer(asked.optimizer)
        plan = planned(part, asked, finder)
    except TNLayersError as error:
        return about | {"refused": str(error)}
    answer_data = about | plan_data(plan) | {"search": search_text(finder)}
    if asked.ranked:
        others = ranked(plan)
        answer_data |= {"candidates": [plan_data(each) for each in others], "why": why(plan, others)}
    return answer_data


def plan_data(plan: Plan) -> dict[str, Any]:
    """What only Python knows about a path: how it is laid out and chunked, and what that takes.

    `flops` and `bytes` are those of the objective: of a whole training step, or of an inference that finds everything
    prepared.
    """
    flops, moved = _counts(plan)
    return {
        "found_by": plan.found_by,
        "path": plan.path,
        "chunk": plan.chunk,
        "slices": plan.slices,
        "stacked": plan.stacked,
        "copied": plan.cost.copied,
        "printed": plan.cost.bytes,
        "flops": flops,
        "bytes": moved,
        "memory": plan.memory,
        "seconds": float(f"{plan.seconds:.3g}"),
    }


def _counts(plan: Plan) -> tuple[int, int]:
    """Flops and bytes of one call of the objective."""
    if plan.objective == "training":
        return plan.flops, plan.cost.bytes + plan.backward.bytes
    if plan.objective == "inference" and plan.sweep is not None and not plan.slices and plan.prepared <= PREPARED_LIMIT:
        carried = [plan.steps[link.step] for link in plan.sweep.chain.links if link.step is not None]
        return sum(cost.flops for cost in carried), sum(cost.bytes for cost in carried)
    return plan.cost.flops, plan.cost.bytes


def axis_data(part: Part, objective: Objective) -> list[dict[str, Any]]:
    """The planner's order at every power of two of the batch, for the axis on which the best plan changes."""
    plans = [planned(part, Question(batch=batch, objective=objective)) for batch in AXIS]
    return [
        {"batch": batch, "path": plan.path, "found_by": plan.found_by, "seconds": float(f"{plan.seconds:.3g}")}
        for batch, plan in zip(AXIS, plans, strict=True)
    ]
