"""Copies of arrays in another order and back, into memory at hand: what a view takes where it is no view.

Each function returns its result, written to `out` where there is such memory; `out` is None where arrays are immutable.
"""

from __future__ import annotations

from typing import Protocol

from tnlayers.program.program import Array, Primitives, Shape, View


class ForwardPrimitives(Primitives, Protocol):
    """What a backend has to offer beside the primitives of programs to run rows along a chain.

    Each returns its result, written to `out` where there is such memory; `out` is None where arrays are immutable.
    """

    def matmul_into(self, out: Array, left: Array, right: Array) -> Array:
        """`out = left @ right`, as `matmul` otherwise."""

    def copy_into(self, out: Array, array: Array) -> Array:
        """`out[...] = array`."""


class SweepPrimitives(ForwardPrimitives, Protocol):
    """What it has to offer to propagate gradients back."""

    def add_product(self, total: Array, left: Array, right: Array) -> Array:
        """`total + left @ right`, summed over the stack where `total` is one matrix; in place where that can be."""


class StepPrimitives(SweepPrimitives, Protocol):
    """What it has to offer to prepare matrices in memory at hand, and to take their gradients back to the cores."""

    def window(self, array: Array, shape: Shape) -> Array:
        """The same memory in another shape: what is written to one is in the other; never a copy."""

    def summed_into(self, out: Array, left: Array, right: Array) -> Array:
        """`out = left @ right`, summed over the stack, whatever `out` contained."""


def permuted(ops: Primitives, view: View, array: Array) -> Array:
    """The array with its axes in the order of a view that permutes."""
    assert view.axes is not None
    assert view.order is not None
    return ops.permute(ops.reshape(array, view.axes), view.order)


def copied(ops: ForwardPrimitives, view: View, array: Array, out: Array | None) -> Array:
    """As `view.apply`, the copy written into `out`."""
    return laid(ops, view, copy_into(ops, permuted(ops, view, array), out))


def laid(ops: Primitives, view: View, copy: Array) -> Array:
    """A copy in the order of a view, as the matrix that a step wants."""
    matrix = ops.reshape(copy, view.shape)
    return transposed(ops, matrix) if view.swap else matrix


def copy_back(ops: ForwardPrimitives, view: View, array: Array, out: Array | None) -> Array:
    """The adjoint of a permuted view: from the order that a step wanted to the order in memory, into `out`."""
    assert view.axes is not None
    assert view.order is not None
    inverse = tuple(view.order.index(axis) for axis in range(len(view.order)))
    array = ops.permute(ops.reshape(array, tuple(view.axes[axis] for axis in view.order)), inverse)
    return copy_into(ops, array, out)


def copy_into(ops: ForwardPrimitives, array: Array, out: Array | None) -> Array:
    """A copy in the order of the axes."""
    return ops.copy_into(shaped(ops, out, array.shape), array)


def shaped(ops: Primitives, out: Array | None, shape: Shape) -> Array | None:
    """Memory, if there is some, in this shape."""
    return None if out is None else ops.reshape(out, shape)


def transposed(ops: Primitives, array: Array) -> Array:
    """The last two axes exchanged: a view."""
    n = array.ndim
    return ops.permute(array, (*range(n - 2), n - 1, n - 2))
