"""What a program costs: exact counts per step, forward and backward.

Counts follow the steps as they run: a product of (rows, summed) and (summed, columns) matrices takes
`2 * rows * summed * columns` flops (a multiplication and an addition each), and moves its operands and its result
through memory once; an operand that cannot be viewed as a matrix is first copied, which reads and writes it once more.

Backward: each product is followed by two of the same size, one per operand, when `x` and all cores want gradients, and
each copy by a copy of its gradient. With chunks of the batch, the prepared matrices are read again for each
chunk, the states are computed again in the backward pass, and the gradients of the matrices are added up chunk by
chunk. Kept for backward are the operands of every product that would not be alive anyway: intermediates and copies, not
`x`, not the cores, and with chunks no states. Padding `x`, where a spec has padding, is one more copy of `x` that comes
before the program and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

from tnlayers.declare.graph import Contraction
from tnlayers.program.chain import Chain, Link
from tnlayers.program.events import Stage, along, back
from tnlayers.program.program import Arrange, Multiply, Program, Reduce, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Counts of one step or of a whole program.

    Attributes:
        flops: Floating-point operations of the forward pass.
        bytes: Bytes read and written in the forward pass, copies included.
        copied: Bytes of the copies among them (read and written), 0 where every operand is a view.
        kept: Bytes saved from the forward to the backward pass beyond the inputs and parameters.
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


def step_costs(
    program: Program, contraction: Contraction, itemsize: int, chain: Chain | None = None, chunk: int | None = None
) -> tuple[Cost, ...]:
    """The exact cost of every step of the forward pass at the planned batch size.

    Args:
        program: The steps.
        contraction: The sizes.
        itemsize: Bytes per entry (4 for float32).
        chain: The steps that contain the batch.
        chunk: How many rows of the batch are processed at a time; None for all at once.
    """
    results = range(program.operands, program.operands + len(program.steps))
    costs = [
        _step_cost(step, program, contraction, itemsize, contraction.elements(program.indices[result]))
        for step, result in zip(program.steps, results, strict=True)
    ]
    if chain is not None and chunk is not None:
        batch = _batch(contraction)
        for link, stage in zip(chain.links, along(chain, batch), strict=False):  # the arrangement is a step as any
            costs[link.step] = _chunked(stage, link, batch, chunk, itemsize, program)
        if chain.arrange is None:
            costs[-1] = replace(costs[-1], result=itemsize * contraction.elements(contraction.output))
    return tuple(costs)


def chunks(contraction: Contraction, chunk: int) -> int:
    """How many chunks the planned batch has."""
    return -(-_batch(contraction) // chunk)


def _batch(contraction: Contraction) -> int:
    return 1 if contraction.batch is None else contraction.sizes[contraction.batch]


def _chunked(stage: Stage, link: Link, batch: int, chunk: int, itemsize: int, program: Program) -> Cost:
    """The cost of a link over all chunks: its matrix is read for each, and no state is saved."""
    register, view = link.core
    laid = link.matrix if view.copies else 0  # once, for all chunks
    cost = events_cost([stage], batch, -(-batch // chunk), itemsize)
    return replace(
        cost,
        bytes=cost.bytes + itemsize * 2 * laid,
        copied=cost.copied + itemsize * 2 * laid,
        kept=itemsize * (link.matrix if view.copies or register >= program.operands else 0),
        result=itemsize * link.after * min(chunk, batch),
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


def backward_cost(
    program: Program, contraction: Contraction, itemsize: int, chain: Chain | None, chunk: int | None
) -> Cost:
    """The exact cost of the backward pass, for the gradients of `x` and all cores; arguments as for `step_costs`."""
    linked = set() if chain is None else {link.step for link in chain.links}
    total = NOTHING
    for number, step in enumerate(program.steps):
        if isinstance(step, Multiply) and number not in linked:
            elements = [contraction.elements(program.indices[register]) for register, _ in (step.left, step.right)]
            result = contraction.elements(program.indices[program.operands + number])
            copied = sum(2 * n for n, (_, view) in zip(elements, (step.left, step.right), strict=True) if view.copies)
            moved = 2 * (sum(elements) + result) + copied
            total += _moved(4 * prod(step.sizes), moved, copied, itemsize, max(elements))
    if chain is not None:
        count = 1 if chunk is None else chunks(contraction, chunk)
        total += chain_backward_cost(chain, _batch(contraction), count, again=chunk is not None, itemsize=itemsize)
    return total


def chain_backward_cost(chain: Chain, batch: int, count: int, *, again: bool, itemsize: int) -> Cost:
    """The exact cost of the backward pass of a chain.

    Args:
        chain: The chain.
        batch: Rows in all.
        count: In how many chunks.
        again: Whether the states are computed again, or saved.
        itemsize: Bytes per entry.
    """
    return events_cost(back(chain, batch, again=again), batch, count, itemsize, added=again)


def events_cost(stages: Iterable[Stage], batch: int, count: int, itemsize: int, *, added: bool = False) -> Cost:
    """The exact cost of what happens to a batch in so many chunks, nothing saved.

    Args:
        stages: The events.
        batch: Rows in all.
        count: In how many chunks.
        itemsize: Bytes per entry.
        added: Whether the gradient of a matrix is added to what is there, rather than written.
    """
    flops = moved = copied = result = 0
    for stage in stages:
        for event in stage:
            written = batch * event.written
            passing = batch * event.read + written
            if event.kind == "copy":
                copied += passing
            else:
                flops += 2 * prod(event.at(batch))
            if event.kind == "sum":
                written = event.matrix
            moved += passing + count * event.matrix * (2 if added and event.kind == "sum" else 1)
            result = max(result, written)
    return _moved(flops, moved, copied, itemsize, result)


def _moved(flops: int, moved: int, copied: int, itemsize: int, result: int) -> Cost:
    return Cost(flops=flops, bytes=itemsize * moved, copied=itemsize * copied, kept=0, result=itemsize * result)


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
