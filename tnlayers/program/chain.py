"""Chains: a layer's program seen as "prepare the cores, then multiply the batch by them".

The batch is an axis of `x` and of nothing else, so the steps whose results contain it form a chain

    x = z_0 -> z_1 -> ... -> y,      z_k+1 = z_k times one prepared matrix,

and all other steps (cores merged, laid out as the chain wants them, or multiplied to the whole weight) do not depend on
`x`: they are prepared once, however many rows follow, and stay as they are while the cores do. The chain can be run
for any rows of the batch at a time, which `sweep.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnlayers.declare.graph import Contraction
from tnlayers.machine.rates import Sizes
from tnlayers.program.program import Arrange, Array, Multiply, Primitives, Program, Shape, View


@dataclass(frozen=True, slots=True)
class Link:
    """One product of the chain.

    Attributes:
        step: Its number in the program.
        product: The product itself.
        state_left: Whether the state is the left operand.
        shape: The shape of the result as the product leaves it, -1 where the batch is.
        batch_side: Which of the product's sizes (batch, rows, summed, columns) the batch is in.
        before: Entries of the state per row of the batch.
        after: Entries of the result per row of the batch.
        matrix: Entries of the prepared matrix.
    """

    step: int
    product: Multiply
    state_left: bool
    shape: Shape
    batch_side: int
    before: int
    after: int
    matrix: int

    @property
    def state(self) -> View:
        """How the state is viewed."""
        return (self.product.left if self.state_left else self.product.right)[1]

    @property
    def core(self) -> tuple[int, View]:
        """The register of the prepared matrix, and how it is viewed."""
        return self.product.right if self.state_left else self.product.left

    @property
    def spread(self) -> bool:
        """Whether one prepared matrix is used for each matrix of a stack."""
        return len(self.core[1].shape) < len(self.state.shape)

    def sizes(self, batch: int, rows: int) -> Sizes:
        """The product's sizes for some rows of a batch that was planned for."""
        sizes = list(self.product.sizes)
        sizes[self.batch_side] = sizes[self.batch_side] // batch * rows
        return sizes[0], sizes[1], sizes[2], sizes[3]

    def multiply(self, ops: Primitives, state: Array, matrix: Array) -> Array:
        """The product of a state, already viewed as a matrix, and the prepared matrix."""
        return ops.matmul(state, matrix) if self.state_left else ops.matmul(matrix, state)


@dataclass(frozen=True, slots=True)
class Chain:
    """The part of a program that the batch runs through.

    Attributes:
        links: The products, in order.
        arrange: How the last result is put into the order of the output, or None where it is so already.
        shape: The shape of the result, -1 for the batch.
        prepared: Numbers of the program's steps that do not depend on the batch.
    """

    links: tuple[Link, ...]
    arrange: View | None
    shape: Shape
    prepared: tuple[int, ...]

    def prepare(self, ops: Primitives, program: Program, cores: Sequence[Array]) -> list[Array]:
        """The matrices of all links, from the cores."""
        registers: list[Array] = [None, *cores, *(None for _ in program.steps)]  # x is not at hand
        for number in self.prepared:
            registers[program.operands + number] = program.steps[number].run(ops, registers)
        return [view.apply(ops, registers[register]) for register, view in (link.core for link in self.links)]

    def run(self, ops: Primitives, x: Array, matrices: Sequence[Array]) -> Array:
        """The whole batch at once; each operation is a primitive that a framework can differentiate or trace.

        Returns:
            The result, its entries in the order of the output and its axes as they come: the caller gives it a shape.
        """
        z = x
        for link, matrix in zip(self.links, matrices, strict=True):
            z = link.multiply(ops, link.state.apply(ops, z), matrix)
        if self.arrange is not None:
            z = self.arrange.apply(ops, z)
        return z


def chain(program: Program, contraction: Contraction) -> Chain | None:
    """The chain of a program, or None where it has none: no batch, or `x` is not the first operand."""
    batch = contraction.batch
    if batch is None or [batch in indices for indices in contraction.operands] != [
        True,
        *[False] * (program.operands - 1),
    ]:
        return None
    planned = contraction.sizes[batch]
    links, prepared, arrange = [], [], None
    for number, step in enumerate(program.steps):
        result = program.indices[program.operands + number]
        if batch not in result:
            prepared.append(number)
        elif isinstance(step, Multiply):
            state_left = batch in program.indices[step.left[0]]
            state = (step.left if state_left else step.right)[0]
            core = (step.right if state_left else step.left)[0]
            links.append(
                Link(
                    step=number,
                    product=step,
                    state_left=state_left,
                    shape=_result_shape(step),
                    batch_side=_batch_side(step),
                    before=contraction.elements(program.indices[state]) // planned,
                    after=contraction.elements(result) // planned,
                    matrix=contraction.elements(program.indices[core]),
                )
            )
        elif isinstance(step, Arrange):
            arrange = step.view
        else:  # a sum over axes of x alone
            return None
    return Chain(tuple(links), arrange, program.shape, tuple(prepared))


def _matrix_shape(view: View) -> Shape:
    *stack, rows, columns = view.shape
    return (*stack, columns, rows) if view.swap else view.shape


def _result_shape(step: Multiply) -> Shape:
    """The shape that a product leaves: (batch, rows, columns), or (rows, columns)."""
    left, right = _matrix_shape(step.left[1]), _matrix_shape(step.right[1])
    stack = left[:-2] or right[:-2]
    return (*stack, left[-2], right[-1])


def _batch_side(step: Multiply) -> int:
    shape = _result_shape(step)
    return (0, 1, 3)[len(shape) == 2 :][shape.index(-1)]
