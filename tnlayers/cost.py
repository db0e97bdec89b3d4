"""What a program costs: exact counts per step, and a rough estimate of time to rank programs by.

Counts follow the steps as they run: a product of (rows, summed) and (summed, columns) matrices takes
`2 * rows * summed * columns` flops (a multiplication and an addition each), and moves its operands and its result
through memory once; an operand that cannot be viewed as a matrix is first copied, which reads and writes it once more.

Training: each product is followed in the backward pass by two of the same size, one per operand, so the flops are three
times those of the forward pass when `x` and all cores want gradients. Kept for backward are the operands of every
product that would not be alive anyway: intermediates and copies, not `x` and not the cores. Padding `x`, where a spec
has padding, is one more copy of `x` that comes before the program and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tnlayers.lower import Contraction
from tnlayers.program import Arrange, Multiply, Program, Reduce, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Counts of one step or of a whole program.

    Attributes:
        flops: Floating-point operations of the forward pass.
        bytes: Bytes read and written in the forward pass, copies included.
        copied: Bytes of the copies among them (read and written), 0 where every operand is a view.
        kept: Bytes kept from the forward to the backward pass beyond the inputs and parameters.
        result: Bytes of the largest result of a step.
    """

    flops: int
    bytes: int
    copied: int
    kept: int
    result: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            flops=self.flops + other.flops,
            bytes=self.bytes + other.bytes,
            copied=self.copied + other.copied,
            kept=self.kept + other.kept,
            result=max(self.result, other.result),
        )


NOTHING = Cost(flops=0, bytes=0, copied=0, kept=0, result=0)


def step_costs(program: Program, contraction: Contraction, itemsize: int) -> tuple[Cost, ...]:
    """The exact cost of every step at the planned batch size.

    Args:
        program: The steps.
        contraction: The sizes.
        itemsize: Bytes per entry (4 for float32).
    """
    results = range(program.operands, program.operands + len(program.steps))
    return tuple(
        _step_cost(step, program, contraction, itemsize, contraction.elements(program.indices[result]))
        for step, result in zip(program.steps, results, strict=True)
    )


def _step_cost(step: Step, program: Program, contraction: Contraction, itemsize: int, result: int) -> Cost:
    match step:
        case Multiply(left=left, right=right, sizes=sizes):
            elements = [contraction.elements(program.indices[register]) for register, _ in (left, right)]
            copied = [2 * n for n, (_, view) in zip(elements, (left, right), strict=True) if view.copies]
            kept = [
                n
                for n, (register, view) in zip(elements, (left, right), strict=True)
                if view.copies or register >= program.operands
            ]
            return Cost(
                flops=2 * prod(sizes),
                bytes=itemsize * (sum(elements) + result + sum(copied)),
                copied=itemsize * sum(copied),
                kept=itemsize * sum(kept),
                result=itemsize * result,
            )
        case Reduce(register=register, diagonals=diagonals, axes=axes, elements=(before, after)):
            moved = before + after if axes else 0
            indices = program.indices[register]
            for first, second in diagonals:  # each reads and writes the entries it keeps
                indices = (*(i for k, i in enumerate(indices) if k not in (first, second)), indices[first])
                moved += 2 * contraction.elements(indices)
            return Cost(flops=before - after, bytes=itemsize * moved, copied=0, kept=0, result=itemsize * after)
        case Arrange(view=view):
            moved = 2 * itemsize * result if view.copies else 0
            return Cost(flops=0, bytes=moved, copied=moved, kept=0, result=itemsize * result)


def dense_cost(in_features: int, out_features: int, batch: int, itemsize: int) -> Cost:
    """The cost of `nn.Linear(in_features, out_features)` without bias, counted by the same rules."""
    result = batch * out_features
    return Cost(
        flops=2 * batch * in_features * out_features,
        bytes=itemsize * (batch * in_features + in_features * out_features + result),
        copied=0,
        kept=0,
        result=itemsize * result,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Rates that turn counts into an estimate of seconds. It ranks programs; it promises no run time.

    The defaults are rounded from measurements of one core of an AVX-512 server in float32: large products 70 GFLOP/s,
    copies into fresh memory 4 GB/s, reading 20 GB/s, about 5 microseconds for the calls of one step.
    """

    flops_per_second: float = 70e9
    bytes_per_second: float = 20e9
    copied_bytes_per_second: float = 8e9  # read and written, so half of it is payload
    seconds_per_step: float = 5e-6
    small_side: int = 8  # a product whose smallest side is this runs at half the rate

    def seconds(self, step: Step, cost: Cost, training: bool) -> float:
        """The estimated seconds of one step, forward only or with its backward pass."""
        passes = 3 if training else 1
        rate = self.flops_per_second
        if isinstance(step, Multiply):
            side = min(step.sizes[1:])
            rate *= max(side, 1) / (side + self.small_side)
        moved = (cost.bytes - cost.copied) / self.bytes_per_second + cost.copied / self.copied_bytes_per_second
        kept = cost.kept / self.copied_bytes_per_second if training else 0.0
        return passes * (cost.flops / rate + moved + self.seconds_per_step) + kept
