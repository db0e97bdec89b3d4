"""The steps of a plan over time: flops, bytes moved, memory, and for training what is saved; in the tree's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnlayers.draw.contraction import COLUMN, margin
from tnlayers.draw.scene import Group, Line, Rectangle, Shape, Text, text_width
from tnlayers.draw.steps import PlanStep, byte_text, plan_steps
from tnlayers.planning.text import amount

if TYPE_CHECKING:
    from tnlayers.planning.plan import Plan

HEIGHT = 56.0
_STRIP = 92.0
_BAR = 40.0


@dataclass(frozen=True, slots=True)
class Strip:
    """One quantity over the steps: the bars, and within them a part in another colour."""

    name: str
    write_value: Callable[[int], str]
    role: str
    value: Callable[[PlanStep], int]
    part_role: str = ""
    part: Callable[[PlanStep], int] = lambda step: 0
    part_name: str = ""


STRIPS = (
    Strip("flops", amount, "flops", lambda step: step.cost.flops),
    Strip(
        "bytes moved",
        byte_text,
        "bytes",
        lambda step: step.cost.bytes,
        "copies",
        lambda step: step.cost.copied,
        "of them copies",
    ),
    Strip("memory in use", byte_text, "memory", lambda step: step.memory),
)
KEPT = Strip("saved for backward", byte_text, "kept", lambda step: step.kept)  # drawn for training only


def highest(plans: Sequence[Plan]) -> tuple[int, ...]:
    """The largest value of each strip over several plans, so that they can share their scales."""
    steps = [step for plan in plans for step in plan_steps(plan)]
    return tuple(max((strip.value(step) for step in steps), default=0) for strip in (*STRIPS, KEPT))


def timeline(plan: Plan, tops: Sequence[int]) -> Group:
    """Draw the strips of one plan, the first at y = 0.

    Args:
        plan: The plan.
        tops: The value of each strip at its full height.
    """
    steps = plan_steps(plan)
    shapes: list[Shape] = []
    strips = (*STRIPS, KEPT) if plan.objective == "training" else STRIPS
    for k, (strip, top) in enumerate(zip(strips, tops, strict=False)):
        shapes += _strip(strip, steps, top, k * _STRIP, margin(plan))
    return Group(shapes=tuple(shapes), kind="timeline")


def _strip(strip: Strip, steps: Sequence[PlanStep], top: int, y: float, left: float) -> list[Shape]:
    base = y + HEIGHT
    ground = Line(points=((left - _BAR, base), (left + (len(steps) - 0.4) * COLUMN, base)), stroke="faint")
    shapes: list[Shape] = [ground, Text(at=(left - 52, base - 8), text=strip.name, size=10.5, anchor="end", bold=True)]
    if strip.part_name and any(map(strip.part, steps)):
        beside = left - 52 - text_width(strip.part_name, 9) - 12
        shapes.append(Rectangle(at=(beside, base + 3), size=(8, 8), fill=strip.part_role))
        shapes.append(Text(at=(left - 52, base + 7), text=strip.part_name, size=9, anchor="end", fill="muted"))
    for k, step in enumerate(steps):
        value = strip.value(step)
        height, x = HEIGHT * value / max(top, 1), left + k * COLUMN
        bars = [Rectangle(at=(x - _BAR / 2, base - height), size=(_BAR, height), fill=strip.role)]
        if part := strip.part(step):
            share = HEIGHT * part / max(top, 1)
            bars.append(Rectangle(at=(x - _BAR / 2, base - share), size=(_BAR, share), fill=strip.part_role))
        label = Text(at=(x, base - height - 8), text=strip.write_value(value), size=9)
        title = f"step {step.number}: {strip.name} {strip.write_value(value)}"
        shapes.append(Group(shapes=(*bars, label), kind="bar", title=title, data={"value": str(value)}))
    return shapes
