"""Preparing the matrices of a chain in memory at hand, and their gradients on the way back to the cores.

What does not depend on the batch, products of cores and copies of them in another order, is done at every step of
training: the cores have changed. Done by a framework's own operations each result is new memory, which takes longer
than the arithmetic where the whole weight is rebuilt, and each of them is recorded. Here all of it has its place
beforehand: in one stretch of memory that lasts from the forward pass to the backward pass, what both need, and in
another that each pass is done with when it ends, the rest: results that are only copied, and gradients of results. Each
register is read once, so its gradient is written once:

    gradient of left  =  g right^T,      gradient of right  =  left^T g,

summed over the stack where one matrix was used for all of it. A gradient is written in the order in which its register
is laid out in memory; only where an operand was copied it is copied back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnlayers.declare.graph import Contraction
from tnlayers.program.chain import Chain
from tnlayers.program.copies import StepPrimitives, copied, copy_back, laid, transposed
from tnlayers.program.program import Array, Multiply, Program, Shape, View

# Bytes that last from the forward to the backward pass of a step of training, from which on this pays: what is smaller
# comes back from a free, and a framework records it in less time than this takes to find its places. And bytes that
# training keeps between its steps at most: where the weight is rebuilt W and its gradient, each twice, of 4096 x 4096.
LEAST_BYTES, MOST_BYTES = 2**22, 2**28

Stretch = tuple[int, int]  # the first entry of a piece of memory, and the one behind the last


@dataclass(frozen=True, slots=True)
class Operand:
    """One matrix that is made from a register.

    Attributes:
        register: The register: a core, or a result.
        view: How it is viewed.
        copy: Where it is copied to, in the memory that lasts; None where it is viewed.
        turned: Where the gradient of the copy is written, in the memory of the backward pass; None where it is viewed.
    """

    register: int
    view: View
    copy: Stretch | None
    turned: Stretch | None


@dataclass(frozen=True, slots=True)
class Made:
    """One product of what is prepared.

    Attributes:
        register: The register of the result.
        left: The left operand.
        right: The right operand.
        shape: The shape that the product leaves.
        lasts: Whether the backward pass reads the result: not where its reader copies it.
        place: Where it is written: in the memory that lasts, or in that of the forward pass.
        gradient: Where its gradient is written, in the memory of the backward pass.
    """

    register: int
    left: Operand
    right: Operand
    shape: Shape
    lasts: bool
    place: Stretch
    gradient: Stretch


@dataclass(frozen=True, slots=True)
class Preparation:
    """All that is prepared for a chain, with its places.

    Attributes:
        registers: How many registers the program has.
        made: The products, in order.
        matrices: The matrices of the chain's links.
        lasting: Entries of the memory that lasts from the forward to the backward pass.
        forward: Entries of memory that the forward pass uses beside it.
        backward: Entries of memory that the backward pass uses beside it.
    """

    registers: int
    made: tuple[Made, ...]
    matrices: tuple[Operand, ...]
    lasting: int
    forward: int
    backward: int


def preparation(found: Chain, program: Program, contraction: Contraction, itemsize: int) -> Preparation | None:
    """Assign places to what a chain needs prepared.

    Args:
        found: The chain.
        program: Its program.
        contraction: The sizes.
        itemsize: Bytes per entry.

    Returns:
        All of it; None where that is too little or too much, and where cores are summed or their diagonals taken.
    """
    steps = [(program.operands + k, program.steps[k]) for k in found.prepared]
    products = [(register, step) for register, step in steps if isinstance(step, Multiply)]
    if len(products) < len(steps):
        return None
    lasting, forward, backward = _Memory(), _Memory(), _Memory()
    # The gradients of copies wait for all of the chain; within a product one is copied back before the next is written.
    entries = {register: contraction.elements(indices) for register, indices in enumerate(program.indices)}
    matrices = [
        Operand(
            register,
            view,
            *(memory.piece(entries[register]) if view.copies else None for memory in (lasting, backward)),
        )
        for register, view in (link.core for link in found.links)
    ]
    read = {operand.register: operand.copy for operand in matrices}
    shared = max(
        [entries[register] for _, step in products for register, view in (step.left, step.right) if view.copies],
        default=0,
    )
    at, _ = backward.piece(shared)
    made = []
    for number, step in reversed(products):
        left, right = (
            Operand(
                register,
                view,
                lasting.piece(entries[register]) if view.copies else None,
                (at, at + entries[register]) if view.copies else None,
            )
            for register, view in (step.left, step.right)
        )
        read |= {operand.register: operand.copy for operand in (left, right)}
        lasts = read[number] is None
        stack, rows, _, columns = step.sizes
        flat = len(step.left[1].shape) == len(step.right[1].shape) == 2
        shape = (rows, columns) if flat else (stack, rows, columns)
        place = (lasting if lasts else forward).piece(entries[number])
        made.append(Made(number, left, right, shape, lasts, place, backward.piece(entries[number])))
    sizes = (lasting.entries, forward.entries, backward.entries)
    if itemsize * lasting.entries < LEAST_BYTES or itemsize * max(sizes) > MOST_BYTES:
        return None
    return Preparation(len(program.indices), tuple(reversed(made)), tuple(matrices), *sizes)


class _Memory:
    """Memory that is given out piece by piece."""

    def __init__(self) -> None:
        self.entries = 0

    def piece(self, entries: int) -> Stretch:
        """The next so many entries."""
        start, self.entries = self.entries, self.entries + entries
        return start, self.entries


def prepare(
    ops: StepPrimitives, todo: Preparation, cores: Sequence[Array], memory: Array, passing: Array
) -> list[Array]:
    """The matrices of all links, from the cores.

    Args:
        ops: The backend's primitives.
        todo: What to prepare.
        cores: The cores.
        memory: A flat array of `lasting` entries, written to.
        passing: One of `forward` entries, whatever it contains afterwards.
    """
    registers = _registers(todo, cores)
    for each in todo.made:
        left, right = (_operand(ops, operand, registers, memory) for operand in (each.left, each.right))
        out = ops.reshape(_piece(memory if each.lasts else passing, each.place), each.shape)
        registers[each.register] = ops.matmul_into(out, left, right)
    return [_operand(ops, operand, registers, memory) for operand in todo.matrices]


def _operand(ops: StepPrimitives, operand: Operand, registers: Sequence[Array], memory: Array) -> Array:
    array = registers[operand.register]
    if operand.copy is None:
        return operand.view.apply(ops, array)
    return copied(ops, operand.view, array, _piece(memory, operand.copy))


class Gradients:
    """The gradients of what was prepared, on their way to the cores.

    Args:
        ops: The backend's primitives.
        todo: What was prepared.
        cores: The cores.
        memory: What `prepare` wrote.
        scratch: A flat array of `backward` entries.
        new: The gradients of the cores, arrays of their shapes that are written to; None where nobody asks.
    """

    def __init__(
        self,
        ops: StepPrimitives,
        todo: Preparation,
        cores: Sequence[Array],
        memory: Array,
        scratch: Array,
        new: Sequence[Array | None],
    ) -> None:
        self.ops = ops
        self.todo = todo
        self.memory = memory
        self.scratch = scratch
        self.registers = _registers(todo, cores)
        self.gradients = _registers(todo, new)
        for each in todo.made:
            if each.lasts:
                self.registers[each.register] = ops.reshape(_piece(memory, each.place), each.shape)
            if any(self.gradients[operand.register] is not None for operand in (each.left, each.right)):
                self.gradients[each.register] = _piece(scratch, each.gradient)

    def matrices(self) -> list[Array]:
        """The matrices of all links, as `prepare` returned them."""
        return [self._seen(operand) for operand in self.todo.matrices]

    def totals(self) -> list[Array | None]:
        """Where the gradients of these matrices are written; None where nobody asks."""
        return [self._target(operand) for operand in self.todo.matrices]

    def back(self) -> None:
        """Once those are written: the gradients of the cores."""
        for operand in self.todo.matrices:
            self._settle(operand)
        for each in reversed(self.todo.made):
            g = self.gradients[each.register]
            if g is None:
                continue
            g = self.ops.reshape(g, each.shape)
            for operand, other in ((each.left, each.right), (each.right, each.left)):
                out = self._target(operand)
                if out is None:
                    continue
                factor = transposed(self.ops, self._seen(other))
                pair = (g, factor) if operand is each.left else (factor, g)
                summed = out.ndim < max(array.ndim for array in pair)
                (self.ops.summed_into if summed else self.ops.matmul_into)(out, *pair)
                self._settle(operand)

    def _seen(self, operand: Operand) -> Array:
        if operand.copy is None:
            return operand.view.apply(self.ops, self.registers[operand.register])
        return laid(self.ops, operand.view, _piece(self.memory, operand.copy))

    def _target(self, operand: Operand) -> Array | None:
        g = self.gradients[operand.register]
        if g is None:
            return None
        if operand.turned is not None:
            return laid(self.ops, operand.view, _piece(self.scratch, operand.turned))
        for permutes, sizes in operand.view.moves:
            g = self.ops.permute(g, sizes) if permutes else self.ops.window(g, sizes)
        return g

    def _settle(self, operand: Operand) -> None:
        """What was written to a copy's gradient, copied back to the order of its register."""
        g = self.gradients[operand.register]
        if g is not None and operand.turned is not None:
            copy_back(self.ops, operand.view, _piece(self.scratch, operand.turned), g)


def _registers(todo: Preparation, cores: Sequence[Array | None]) -> list[Array | None]:
    return [None, *cores, *(None for _ in range(todo.registers - 1 - len(cores)))]  # x is not at hand


def _piece(memory: Array, place: Stretch) -> Array:
    return memory[place[0] : place[1]]
