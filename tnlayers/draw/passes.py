"""The forward pass next to the backward pass of a plan for training: flops and bytes of each, as bars to the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tnlayers.draw.contraction import COLUMN, margin
from tnlayers.draw.scene import Group, Rectangle, Shape, Text
from tnlayers.draw.steps import byte_text
from tnlayers.planning.text import amount
from tnlayers.pricing.counts import Cost

if TYPE_CHECKING:
    from tnlayers.planning.plan import Plan

_BAR = 12.0
_BETWEEN = 4.0
_LONGEST = 3 * COLUMN

COUNTS: tuple[tuple[str, str, Callable[[Cost], int], Callable[[int], str]], ...] = (
    ("flops", "flops", lambda cost: cost.flops, amount),
    ("bytes moved", "bytes", lambda cost: cost.bytes, byte_text),
)


def longest(plans: Sequence[Plan]) -> tuple[int, ...]:
    """The largest count of a pass over several plans, so that they can share their scales."""
    costs = [cost for plan in plans for cost in (plan.cost, plan.backward)]
    return tuple(max((count(cost) for cost in costs), default=0) for _, _, count, _ in COUNTS)


def passes(plan: Plan, tops: Sequence[int]) -> Group:
    """Draw both passes of one plan, the first bar at y = 0.

    Args:
        plan: The plan.
        tops: The count of each quantity at the full length of its bar.
    """
    left = margin(plan)
    shapes: list[Shape] = []
    y = 0.0
    for (name, role, count, write_count), top in zip(COUNTS, tops, strict=True):
        for word, cost in (("forward", plan.cost), ("backward", plan.backward)):
            value, middle = count(cost), y + _BAR / 2
            length = _LONGEST * value / max(top, 1)
            bar = Rectangle(at=(left - 40, y), size=(length, _BAR), fill=role)
            words = Text(at=(left - 52, middle), text=f"{name}, {word}", size=9, anchor="end")
            number = Text(at=(left - 34 + length, middle), text=write_count(value), size=9, anchor="start")
            title = f"{word} pass: {name} {write_count(value)}"
            shapes.append(Group(shapes=(bar, words, number), kind="pass", title=title, data={"value": str(value)}))
            y += _BAR + _BETWEEN
        y += 2 * _BETWEEN
    return Group(shapes=tuple(shapes), kind="passes")
