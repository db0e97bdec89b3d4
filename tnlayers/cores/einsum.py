"""`from_einsum`: any einsum equation, planned once and run as a program on any backend's arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opt_einsum.parser import parse_einsum_input

from tnlayers.backends import backend_of
from tnlayers.declare.arguments import shown
from tnlayers.declare.graph import Contraction
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.planning.paths import Optimizer
from tnlayers.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Einsum:
    """A planned einsum: call it with the operands.

    Attributes:
        equation: As it was given.
        shapes: The shape of each operand.
        plan: How it is computed; print it to see the steps and their price.
    """

    equation: str
    shapes: tuple[tuple[int, ...], ...]
    plan: Plan

    def __call__(self, *operands: Any) -> Any:
        """Evaluate on arrays of one backend, of the shapes planned for.

        Raises:
            TNLayersError: If the number or the shapes of the operands differ from those planned for.
        """
        for operand in operands:
            if not hasattr(operand, "shape"):
                raise TNLayersError(f"{self.equation!r} takes arrays, and got {shown(operand)}.")
        found = tuple(tuple(operand.shape) for operand in operands)
        if found != self.shapes:
            raise TNLayersError(
                f"{self.equation!r} was planned for operands of shapes {self.shapes}, got {found}. Plan again with "
                f"tnl.from_einsum({self.equation!r}, {list(found)})."
            )
        return self.plan.program.run(backend_of(operands[0]).ops, operands)


def from_einsum(equation: str, shapes: Sequence[Sequence[int]], *, optimize: Optimizer = "auto") -> Einsum:
    """Plan an einsum for operands of given shapes.

    Every equation of `numpy.einsum` is taken: traces, summed and repeated indices, hyperedges, ellipsis, outer
    products, scalars, disconnected parts, and axes of size 1 that broadcast.

    Args:
        equation: Such as "bi,ij->bj"; without "->" the output is the indices that stand once, in alphabetical order.
        shapes: The shape of each operand.
        optimize: As in `tnl.plan`.

    Returns:
        A callable of the operands (numpy or torch arrays), with its `plan`.

    Raises:
        TNLayersError: If the equation is not one, or does not fit the shapes.

    Example:
        >>> import numpy as np
        >>> f = from_einsum("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)])
        >>> f(np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 5)))[0, 0].item()
        12.0
    """
    try:
        sizes = tuple(tuple(operator.index(size) for size in shape) for shape in shapes)
    except TypeError as error:
        raise TNLayersError(
            f"from_einsum takes one shape per operand, such as [(2, 3), (3, 4)]; got {shapes!r}."
        ) from error
    if any(size < 0 for shape in sizes for size in shape):
        raise TNLayersError(f"Sizes cannot be negative: the shapes are {sizes}.")
    inputs, output = _parse(equation, sizes)
    contraction = _contraction(equation, inputs, output, sizes)
    return Einsum(equation, sizes, plan_contraction(contraction, optimize=optimize, title=repr(equation)))


def _parse(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[str], str]:
    if not isinstance(equation, str) or not shapes:
        raise TNLayersError(
            f"from_einsum needs an equation such as 'ij,jk->ik' and shapes, got {equation!r}, {shapes}."
        )
    try:
        left, output, _ = parse_einsum_input((equation, *shapes), shapes=True)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise TNLayersError(f"{equation!r} is no einsum equation for operands of shapes {shapes}: {error}") from error
    inputs = left.split(",")
    for number, (letters, shape) in enumerate(zip(inputs, shapes, strict=True)):
        if len(letters) != len(shape):
            raise TNLayersError(
                f"Operand {number} of {equation!r} has {len(letters)} indices ({letters!r}), its shape {shape} has "
                f"{len(shape)} axes."
            )
    return inputs, output


def _contraction(equation: str, inputs: list[str], output: str, shapes: tuple[tuple[int, ...], ...]) -> Contraction:
    letters = list(dict.fromkeys("".join(inputs)))
    size = dict.fromkeys(letters, 1)
    for text, shape in zip(inputs, shapes, strict=True):
        for letter, length in zip(text, shape, strict=True):
            if length != 1 and size[letter] not in (1, length):
                raise TNLayersError(f"Index {letter!r} of {equation!r} has size {size[letter]} and size {length}.")
            size[letter] = length if length != 1 else size[letter]
    operands = []
    for text, shape in zip(inputs, shapes, strict=True):
        # An axis of size 1 where the index is larger broadcasts: without it the product is the same.
        narrow = {letter for letter, length in zip(text, shape, strict=True) if length == 1 and size[letter] != 1}
        if any(length != 1 for letter, length in zip(text, shape, strict=True) if letter in narrow):
            raise TNLayersError(f"An index of {equation!r} is twice in one operand of shape {shape}, once with size 1.")
        operands.append(tuple(letters.index(letter) for letter in text if letter not in narrow))
    return Contraction(
        names=tuple(f"operand_{k}" for k in range(len(inputs))),
        operands=tuple(operands),
        output=tuple(letters.index(letter) for letter in output),
        sizes=tuple(size[letter] for letter in letters),
    )
