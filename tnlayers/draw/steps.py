"""A plan's steps as the pictures want them: what each reads and makes, what it costs, and what is in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnlayers.planning.lowered import ITEMSIZES
from tnlayers.planning.text import amount
from tnlayers.pricing.counts import Cost
from tnlayers.program.program import Multiply

if TYPE_CHECKING:
    from tnlayers.planning.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """An operand, or the result of a step.

    Attributes:
        name: The operand's name; "" for a result.
        shape: Its sizes, as in "128x16x4".
        bytes: Its size in memory at the planned batch.
        batch: Whether it has the batch axis; otherwise it is made of weights alone.
    """

    name: str
    shape: str
    bytes: int
    batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step.

    Attributes:
        number: 1 for the first.
        reads: Numbers of the registers it reads.
        result: Number of the register it fills.
        equation: What it does, in einsum notation.
        cost: Its exact cost, forward pass.
        alive: Bytes of all intermediates that are alive while it runs, its result included.
        memory: The same with the copies that it makes of its operands.
        kept: Bytes saved for the backward pass up to here.
    """

    number: int
    reads: tuple[int, ...]
    result: int
    equation: str
    cost: Cost
    alive: int
    memory: int
    kept: int


def byte_text(count: int) -> str:
    """Bytes with three digits and a unit.

    Example:
        >>> byte_text(512), byte_text(65_536)
        ('512 B', '65.5 kB')
    """
    text = amount(count)
    return f"{text}B" if " " in text else f"{text} B"


def registers(plan: Plan) -> list[Register]:
    """The operands, then the results of the steps."""
    contraction, program = plan.contraction, plan.program
    names = [*contraction.names, *[""] * len(program.steps)]
    return [
        Register(
            name=name,
            shape="x".join(str(contraction.sizes[i]) for i in indices) or "1",
            bytes=ITEMSIZES[plan.dtype] * contraction.elements(indices),
            batch=contraction.batch in indices,
        )
        for name, indices in zip(names, program.indices, strict=True)
    ]


def plan_steps(plan: Plan) -> list[PlanStep]:
    """The steps in the order in which they run; operands are the caller's and not counted in `memory`."""
    program, found = plan.program, registers(plan)
    bytes_at_once = [_bytes_at_once(plan, register, last=k == len(found) - 1) for k, register in enumerate(found)]
    alive: dict[int, int] = {}
    kept, steps = 0, []
    for k, (step, cost) in enumerate(zip(program.steps, plan.steps, strict=True)):
        result = program.operands + k
        alive[result] = bytes_at_once[result]
        operands = (step.left, step.right) if isinstance(step, Multiply) else ()
        copies = sum(bytes_at_once[register] for register, view in operands if view.copies)
        kept += cost.kept
        parts = [program.indices[register] for register in (*step.registers, result)]
        steps.append(
            PlanStep(
                number=k + 1,
                reads=step.registers,
                result=result,
                equation=plan.contraction.equation(*parts),
                cost=cost,
                alive=sum(alive.values()),
                memory=sum(alive.values()) + copies,
                kept=kept,
            )
        )
        for register in step.registers:
            alive.pop(register, None)
    return steps


def _bytes_at_once(plan: Plan, register: Register, *, last: bool) -> int:
    """Bytes of a register that are in memory at once: of a chunk's rows where the plan has chunks."""
    if plan.chunk is None or plan.batch is None or not register.batch or last:
        return register.bytes
    return register.bytes * min(plan.chunk, plan.batch) // plan.batch
