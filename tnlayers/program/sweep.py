"""The planned sweep: rows of the batch propagated along a chain, and back with the gradients of `x` and all matrices.

The backward sweep propagates the gradient g of the state against the chain. A link z' = A z (or z A) gives

    gradient of A  +=  g z^T,  summed over the stack of matrices that A was used for,
    gradient of z   =  A^T g,

on the same views as the forward sweep: the gradient is laid out in memory as the state is, and only where the forward
pass permuted a state does the backward pass permute its gradient. States are not saved from forward to backward: the
sweep computes them again, a few rows at a time, while they are in cache. Everything but the results is written into one
workspace, so nothing is allocated. Where arrays cannot be written to, as on jax, there is no workspace: every primitive
returns its result too, and only that is read.

`propagate` and `propagate_back` name places in the workspace in entries per row; `Sweep` has them, derived once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeAlias

from tnlayers.program.chain import Chain, Link
from tnlayers.program.copies import (
    ForwardPrimitives,
    SweepPrimitives,
    copied,
    copy_back,
    copy_into,
    permuted,
    shaped,
    transposed,
)
from tnlayers.program.program import Array, Primitives, Shape

Place: TypeAlias = tuple[int, int]  # where in the workspace, and how much, in entries per row

# What is viewed once for all chunks, beside the places: by link.
_STATE, _TURNED, _GRADIENT, _MATRIX = range(4)


class Workspace(Protocol):
    """Memory for some rows, which chunk after chunk uses."""

    def take(self, place: Place) -> Array | None:
        """A flat array of the place's entries, times the rows; None where arrays are immutable."""

    def once(self, key: Hashable, make: Callable[..., Array | None], *args: Array) -> Array | None:
        """`make(*args)`, a view of this memory or of a matrix, which is the same for every chunk: it may be cached."""


class NoWorkspace:
    """The workspace of backends with immutable arrays."""

    def take(self, place: Place) -> None:
        """Nowhere: the primitives return new arrays."""

    def once(self, key: Hashable, make: Callable[..., Array | None], *args: Array) -> Array | None:
        """`make(*args)`: every array is new, so nothing can be cached."""
        return make(*args)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A chain with the places of its states in a workspace.

    Attributes:
        chain: The chain.
        copies: Where each link's state is copied to, None where it is viewed.
        results: The place of each link's result; the last one only where the output is another arrangement of it.
        gradients: Two places that the gradients of states alternate between.
        forward: Entries per row of the workspace that `propagate` uses.
        both: Entries per row of the workspace that `propagate_back` uses.
    """

    chain: Chain
    copies: tuple[Place | None, ...]
    results: tuple[Place, ...]
    gradients: tuple[Place, Place]
    forward: int
    both: int


def sweep(chain: Chain) -> Sweep:
    """Assign places to a chain's states."""
    top = 0
    copies: list[Place | None] = []
    results: list[Place] = []
    for k, link in enumerate(chain.links):
        copies.append((top, link.before) if link.state.copies else None)
        top += link.before if link.state.copies else 0
        lasting = k < len(chain.links) - 1 or chain.arrange is not None
        results.append((top, link.after if lasting else 0))
        top += link.after if lasting else 0
    widths = _gradient_widths(chain)
    gradients = ((top, widths[0]), (top + widths[0], widths[1]))
    return Sweep(chain, tuple(copies), tuple(results), gradients, top, top + sum(widths))


def _gradient_widths(chain: Chain) -> tuple[int, int]:
    """Entries per row of the two places that `propagate_back` writes gradients of states to, in turns."""
    widths, free = [0, 0], 0
    if chain.arrange is not None:
        widths[0], free = chain.links[-1].after, 1
    for k in reversed(range(len(chain.links))):
        link, moved, last = chain.links[k], chain.links[k].state.order is not None, k == 0
        if moved or not last:
            widths[free] = max(widths[free], link.before)
        if moved and not last:
            widths[1 - free] = max(widths[1 - free], link.before)
        free = free if moved else 1 - free
    return widths[0], widths[1]


def propagate(
    ops: ForwardPrimitives, sweep: Sweep, x: Array, matrices: Sequence[Array], space: Workspace, y: Array | None
) -> Array:
    """Carry rows along the chain.

    Args:
        ops: The backend's primitives.
        sweep: The chain and its places.
        x: Some rows of the input.
        matrices: The prepared matrices.
        space: The workspace, for as many rows.
        y: The same rows of the output, written to; None where arrays are immutable.

    Returns:
        The rows of the output, their axes split or merged as it comes.
    """
    chain, last = sweep.chain, sweep.chain.links[-1]
    states = _states(ops, sweep, x, matrices, space)
    if chain.arrange is None:
        return _product_into(ops, last, shaped(ops, y, last.shape), states[-1], matrices[-1])
    out = _placed(ops, space, sweep.results[-1], last.shape)
    result = _product_into(ops, last, out, states[-1], matrices[-1])
    return copy_into(ops, permuted(ops, chain.arrange, result), y)


def propagate_back(
    ops: SweepPrimitives,
    sweep: Sweep,
    x: Array,
    matrices: Sequence[Array],
    space: Workspace,
    gy: Array,
    gx: Array | None,
    totals: Sequence[Array | None],
    *,
    want_x: bool = True,
    added: bool = True,
) -> tuple[Array | None, list[Array | None]]:
    """Carry rows along the chain again, and their gradient back.

    Args:
        ops: The backend's primitives.
        sweep: The chain and its places.
        x: Some rows of the input.
        matrices: The prepared matrices.
        space: The workspace, for as many rows.
        gy: The same rows of the output's gradient, contiguous.
        gx: The same rows of the input's gradient, written to; None if nobody asks for it, or arrays are immutable.
        totals: The gradients of the matrices, added to; None where nobody asks.
        want_x: Whether anybody asks for the input's gradient.
        added: Whether there is something to add to: without, the totals of matrices that no stack shares are written
            to, whatever they contain.

    Returns:
        The rows of the input's gradient, their axes split or merged as it comes, and the new totals.
    """
    chain, totals = sweep.chain, list(totals)
    states = _states(ops, sweep, x, matrices, space)
    places, free = sweep.gradients, 0  # the gradient is in one of two places; the next is written to the free one
    g = gy
    if chain.arrange is not None:
        g = copy_back(ops, chain.arrange, gy, space.take((places[free][0], chain.links[-1].after)))
        free = 1 - free
    for k in reversed(range(len(chain.links))):
        link, total, first, last = chain.links[k], totals[k], k == 0, k == len(chain.links) - 1
        g = ops.reshape(g, link.shape) if last else space.once((_GRADIENT, k), ops.reshape, g, link.shape)
        if total is not None:
            state = transposed(ops, states[k]) if first else space.once((_TURNED, k), transposed, ops, states[k])
            totals[k] = _add_gradient(ops, link, total, state, g, added=added or link.spread)
        if not want_x and all(earlier is None for earlier in totals[:k]):
            return None, totals
        moved, shape, place = link.state.order is not None, link.state.shape, (places[free][0], link.before)
        out = shaped(ops, gx, shape) if first and not moved else _placed(ops, space, place, shape)
        g = _state_gradient(ops, link, out, g, space.once((_MATRIX, k), _adjoint, ops, link, matrices[k]))
        if moved:
            g = copy_back(ops, link.state, g, gx if first else space.take((places[1 - free][0], link.before)))
        else:
            free = 1 - free
    return g, totals


def _states(ops: ForwardPrimitives, sweep: Sweep, x: Array, matrices: Sequence[Array], space: Workspace) -> list[Array]:
    """The state before each link, viewed as its matrix; the last product is left to the caller."""
    links = sweep.chain.links
    first = sweep.copies[0]
    states = [links[0].state.apply(ops, x) if first is None else copied(ops, links[0].state, x, space.take(first))]
    for k, (link, following) in enumerate(pairwise(links)):
        out = _placed(ops, space, sweep.results[k], link.shape)
        z = _product_into(ops, link, out, states[-1], matrices[k])
        place = sweep.copies[k + 1]
        if place is None:
            states.append(space.once((_STATE, k + 1), following.state.apply, ops, z))
        else:
            states.append(copied(ops, following.state, z, space.take(place)))
    return states


def _product_into(ops: ForwardPrimitives, link: Link, out: Array | None, state: Array, matrix: Array) -> Array:
    left, right = (state, matrix) if link.state_left else (matrix, state)
    return ops.matmul_into(out, left, right)


def _add_gradient(ops: SweepPrimitives, link: Link, total: Array, state: Array, g: Array, *, added: bool) -> Array:
    """The gradient of the prepared matrix, from the transposed state."""
    left, right = (state, g) if link.state_left else (g, state)
    return ops.add_product(total, left, right) if added else ops.matmul_into(total, left, right)


def _state_gradient(ops: ForwardPrimitives, link: Link, out: Array | None, g: Array, adjoint: Array) -> Array:
    """The gradient of a link's state, written in the order that the state has in memory."""
    if link.state.swap:  # the state is viewed transposed, so its gradient is computed transposed
        g = transposed(ops, g)
    left, right = (g, adjoint) if link.state_left != link.state.swap else (adjoint, g)
    return ops.matmul_into(out, left, right)


def _adjoint(ops: Primitives, link: Link, matrix: Array) -> Array:
    """The matrix that a link's gradient is multiplied by; as it is where all of the product is transposed."""
    return matrix if link.state.swap else transposed(ops, matrix)


def _placed(ops: Primitives, space: Workspace, place: Place, shape: Shape) -> Array | None:
    """A place in the workspace as an array of this shape; None where arrays are immutable."""
    return space.once((place, shape), _taken, ops, space, place, shape)


def _taken(ops: Primitives, space: Workspace, place: Place, shape: Shape) -> Array | None:
    return shaped(ops, space.take(place), shape)
