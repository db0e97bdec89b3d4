"""The contraction tree of a plan, from the operands on the left to the result on the right, one column per step.

Each step is drawn where its two operands meet, with what it costs; a line is as wide as its array is large.
Orange has the batch axis, blue is made of weights alone: a sweep is an orange line that takes up core after core, a
rebuilt weight a blue tree that meets `x` at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import TYPE_CHECKING

from tnlayers.draw.scene import Circle, Group, Line, Point, Shape, Text, text_width
from tnlayers.draw.steps import PlanStep, Register, byte_text, plan_steps, registers
from tnlayers.planning.text import amount

if TYPE_CHECKING:
    from tnlayers.planning.plan import Plan

COLUMN = 84.0  # the width of one step, here and in the timeline below
_ROW = 34.0
_RADIUS = 11.0
_TEXT = 10.5


def margin(plan: Plan) -> float:
    """The distance of the first step's column from the left edge: room for the operands' names and shapes."""
    return max(text_width(_label(r), _TEXT) for r in registers(plan) if r.name) + 44


def contraction(plan: Plan) -> Group:
    """Draw the tree of one plan; steps stand at `margin(plan) + k * COLUMN`."""
    found, steps = registers(plan), plan_steps(plan)
    heights = _heights(steps, len(found) - len(steps))
    left = margin(plan)
    places: dict[int, Point] = {}
    shapes: list[Shape] = []
    for number, register in enumerate(found[: len(found) - len(steps)]):
        places[number] = (left - 34, heights[number])
        shapes.append(_operand(register, places[number]))
    lines: list[Shape] = []
    nodes: list[Shape] = []
    for k, step in enumerate(steps):
        here = (left + k * COLUMN, heights[step.result])
        places[step.result] = here
        for read in step.reads:
            lines.append(_wire(places[read], here, found[read]))
        nodes.append(_step(step, found[step.result], here))
    last = (left + (len(steps) - 1) * COLUMN, heights[len(found) - 1]) if steps else places[0]
    lines.append(_wire(last, (last[0] + 66, last[1]), found[-1]))
    end = Text(at=(last[0] + 70, last[1]), text="y" if plan.batch else "result", size=_TEXT, anchor="start", bold=True)
    return Group(shapes=(*lines, *shapes, *nodes, end), kind="tree")


def _label(register: Register) -> str:
    return f"{register.name} {register.shape}"


def _heights(steps: Sequence[PlanStep], operands: int) -> dict[int, float]:
    """A row for every operand so that no two lines cross; a step is in the middle of what it reads."""
    reads = {step.result: step.reads for step in steps}
    heights: dict[int, float] = {}

    def first(register: int) -> int:
        return min(map(first, reads[register]), default=register) if register in reads else register

    def visit(register: int) -> None:
        for read in sorted(reads.get(register, ()), key=first):
            visit(read)
        below = [heights[read] for read in reads.get(register, ())]
        rows = sum(each < operands for each in heights)
        heights[register] = sum(below) / len(below) if below else rows * _ROW

    visit(operands + len(steps) - 1)
    return heights


def _role(register: Register) -> str:
    return "batch" if register.batch else "weights"


def _wire(start: Point, end: Point, register: Register) -> Line:
    """From where a register was made, level to the step that reads it, and there up or down."""
    return Line(points=(start, (end[0], start[1]), end), stroke=_role(register), width=_width(register))


def _width(register: Register) -> float:
    return 1.0 + 0.3 * log2(max(register.bytes / 64, 1))


def _operand(register: Register, place: Point) -> Group:
    words = Text(at=(place[0] - 5, place[1]), text=_label(register), size=_TEXT, anchor="end")
    title = f"operand {register.name}, shape {register.shape}, {byte_text(register.bytes)}"
    return Group(shapes=(words,), kind="operand", title=title, data={"name": register.name, "size": register.shape})


def _step(step: PlanStep, result: Register, place: Point) -> Group:
    x, y = place
    disc = Circle(centre=place, radius=_RADIUS, fill="paper", stroke=_role(result), width=2)
    aside, away = x + _RADIUS + 4, _width(result) / 2 + 7
    words = (
        Text(at=place, text=str(step.number), size=_TEXT, bold=True),
        Text(at=(aside, y - away), text=amount(step.cost.flops), size=9, anchor="start"),
        Text(at=(aside, y + away + 1), text=byte_text(step.cost.result), size=9, anchor="start", fill="muted"),
    )
    title = (
        f"step {step.number}: {step.equation}; {amount(step.cost.flops)} flops, {byte_text(step.cost.bytes)} moved; "
        f"result {result.shape}, {byte_text(step.cost.result)} at once"
    )
    return Group(
        shapes=(disc, *words), kind="step", title=title, data={"number": str(step.number), "size": result.shape}
    )
