"""Programs: a contraction path as a flat list of one- and two-operand steps, every layout worked out beforehand.

A program runs on registers: the operands first, then the result of each step. A two-operand step views both operands as
matrices (or stacks of matrices), multiplies them and leaves the product as it comes:

    left  (batch, rows, summed)  @  right  (batch, summed, columns)  ->  (batch, rows, columns)

`batch` are the axes that both operands and the result have (hyperedges), `summed` those that end here. An operand
without the batch axis is one matrix, used for every matrix of the other's stack: so a core is multiplied along a run of
neighbouring axes in the middle of an array, (before, run, after) -> (before, new, after), and nothing is permuted.
Whether an operand can be viewed so without copying depends on the order of its axes; `layout.py` chooses orders that
need the fewest copies.

Invariant: a program holds ints and tuples only, and one size may be unknown: the batch index, written -1 in shapes. The
same program therefore runs at every batch size, on every backend, and traces into a graph without branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from tnlayers.machine.rates import STRETCH

Array: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]


class Primitives(Protocol):
    """What a backend has to offer for programs to run on it: each as in numpy."""

    def reshape(self, array: Array, shape: Shape) -> Array:
        """The array with another shape; -1 stands for the one size that follows from the others."""

    def permute(self, array: Array, axes: Shape) -> Array:
        """A view with the axes in another order."""

    def matmul(self, left: Array, right: Array) -> Array:
        """The product of two matrices, of two stacks of equally many matrices, or of one matrix and each of a stack."""

    def sum(self, array: Array, axes: Shape) -> Array:
        """The sum over some axes, which disappear."""

    def diagonal(self, array: Array, axis1: int, axis2: int) -> Array:
        """A new array of the entries where two axes agree; their common axis comes last."""

    def pad(self, array: Array, count: int) -> Array:
        """The array with `count` zeros behind its last axis."""

    def eye(self, size: int, like: Array) -> Array:
        """The identity matrix, of the dtype (and on the device) of another array."""


@dataclass(frozen=True, slots=True)
class View:
    """How a register is brought into the form a step wants.

    Attributes:
        axes: The shape with one entry per axis, needed only if they are permuted; None if they are not.
        order: The permutation of those axes, or None.
        shape: The shape to end with; reshaping copies where the permuted axes are not neighbours in memory.
        swap: Whether the last two axes are exchanged at the end, which never copies.
        copies: Whether the permuted axes are copied, at the planned batch size, rather than viewed.
        stretch: Entries that a copy takes at even distances in the old order, one after the other in the new one.
        near: Whether they are neighbours in the old order too.
        moves: All of it one after the other: whether axes are permuted, and their order, or else the shape.
    """

    axes: Shape | None
    order: Shape | None
    shape: Shape
    swap: bool = False
    copies: bool = False
    stretch: int = field(default=STRETCH, compare=False)  # at the planned batch size, while views are right at any
    near: bool = field(default=False, compare=False)
    moves: tuple[tuple[bool, Shape], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        moves: list[tuple[bool, Shape]] = []
        if self.axes is not None and self.order is not None:
            moves += [(False, self.axes), (True, self.order)]
        n = len(self.shape)
        if self.copies and n > 1:
            # One axis cannot be a view of permuted ones, so this is the copy, here and nowhere later.
            moves.append((False, (-1,)))
        moves.append((False, self.shape))
        if self.swap:
            moves.append((True, (*range(n - 2), n - 1, n - 2)))
        object.__setattr__(self, "moves", tuple(moves))  # run at every call

    def apply(self, ops: Primitives, array: Array) -> Array:
        """The register in the form the step wants."""
        for permutes, sizes in self.moves:
            array = ops.permute(array, sizes) if permutes else ops.reshape(array, sizes)
        return array


@dataclass(frozen=True, slots=True)
class Multiply:
    """Contract two registers by one matrix product.

    Attributes:
        left: Register and view of the left operand, (batch, rows, summed) or (rows, summed).
        right: Register and view of the right operand, (batch, summed, columns) or (summed, columns). Where only one
            of the two has a batch axis, the other is used for each of its matrices.
        sizes: (batch, rows, summed, columns) at the planned batch size.
    """

    left: tuple[int, View]
    right: tuple[int, View]
    sizes: tuple[int, int, int, int]

    @property
    def registers(self) -> tuple[int, ...]:
        """The registers that the step reads."""
        return (self.left[0], self.right[0])

    def run(self, ops: Primitives, registers: Sequence[Array]) -> Array:
        """The product."""
        (left, left_view), (right, right_view) = self.left, self.right
        return ops.matmul(left_view.apply(ops, registers[left]), right_view.apply(ops, registers[right]))


@dataclass(frozen=True, slots=True)
class Reduce:
    """Take diagonals of repeated axes and sum axes that nothing else has: what one operand can settle alone.

    Attributes:
        register: The register read.
        shape: Its shape with one entry per axis.
        diagonals: Pairs of axes to merge, one after the other; the merged axis comes last each time.
        axes: Axes to sum once the diagonals are taken.
        elements: Entries (before summing, after summing) at the planned batch size.
    """

    register: int
    shape: Shape
    diagonals: tuple[tuple[int, int], ...]
    axes: Shape
    elements: tuple[int, int]

    @property
    def registers(self) -> tuple[int, ...]:
        """The registers that the step reads."""
        return (self.register,)

    def run(self, ops: Primitives, registers: Sequence[Array]) -> Array:
        """The reduced array."""
        array = ops.reshape(registers[self.register], self.shape)
        for axis1, axis2 in self.diagonals:
            array = ops.diagonal(array, axis1, axis2)
        return ops.sum(array, self.axes) if self.axes else array


@dataclass(frozen=True, slots=True)
class Arrange:
    """Copy the result so that its entries stand in the order of the output."""

    register: int
    view: View

    @property
    def registers(self) -> tuple[int, ...]:
        """The registers that the step reads."""
        return (self.register,)

    def run(self, ops: Primitives, registers: Sequence[Array]) -> Array:
        """The result as one flat axis, its entries in order."""
        return self.view.apply(ops, registers[self.register])


Step: TypeAlias = Multiply | Reduce | Arrange


@dataclass(frozen=True, slots=True)
class Program:
    """A finished contraction: steps over registers.

    Attributes:
        operands: How many registers the caller fills.
        steps: Step `k` fills register `operands + k`; the last register is the result.
        indices: The indices of every register's axes in memory order, for reading and for costs.
        shape: The shape of the result, -1 for the batch.
    """

    operands: int
    steps: tuple[Step, ...]
    indices: tuple[tuple[int, ...], ...]
    shape: Shape

    def run(self, ops: Primitives, operands: Sequence[Array]) -> Array:
        """Execute on arrays of one backend.

        Args:
            ops: The backend's primitives.
            operands: One array per operand, contiguous or not, of the planned shape (axes may be merged: only the
                order of the entries counts) and any batch size.

        Returns:
            The result with one axis per output index.
        """
        registers: list[Array] = list(operands)
        for step in self.steps:
            result = step.run(ops, registers)
            for register in step.registers:  # let go of what is used up: each register is read once
                registers[register] = None
            registers.append(result)
        return ops.reshape(registers[-1], self.shape)
