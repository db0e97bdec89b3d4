"""Events of a chain: what happens to some rows on their way along it, and to their gradient on its way back.

This is the one description that every price is a fold of: exact counts (`pricing/counts.py`), seconds
(`pricing/seconds.py`), bytes in use (`planning/memory.py`) and the benchmark's limit (`bench/limit.py`). What
`sweep.py` runs is these events in this order, which `tests/program/test_events.py` asserts event by event.

Events come in stages, one per link. A stage of the way along is the copy of the state, where there is one, and the
product. A stage of the way back is the gradient of the matrix, the gradient of the state, the copy of that, where there
is one, and what is computed again because states are not saved: that is marked, and runs ahead of the way back, in the
order of the way along. The arrangement of the output is a stage of a single copy: the last one along, the first one
back. An effect that no event has yet (of a device, say) is one more kind here, or one more field, and a rule in each
fold that it matters to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from tnlayers.machine.rates import Sizes
from tnlayers.program.chain import Chain, Link
from tnlayers.program.program import View

Kind: TypeAlias = Literal["copy", "product", "sum"]

# Where the sizes (stack, rows, summed, columns) of a product stand in those of the two products on its way back.
_BESIDE, _TURNED, _BELOW = (0, 1, 3, 2), (0, 2, 3, 1), (0, 2, 1, 3)


class Event(NamedTuple):
    """One thing that is done with some rows.

    Attributes:
        kind: "product" of a state, or of a gradient, and a matrix; "sum", a product added up over a stack to the
            gradient of a matrix; "copy" in another order.
        read: Entries per row that it reads of states and of their gradients.
        written: Entries per row that it writes of them.
        makes: Whether these are an array of their own, rather than the output or the gradient of the input.
        at_input: Whether it is the first link's.
        at_output: Whether it is the last link's, or the arrangement.
        matrix: Entries of the matrix, or of its gradient.
        sizes: A product's (stack, rows, summed, columns) for one row of the batch.
        side: Which of them grows with the rows.
        state_left: Whether the state, or its gradient, is the left operand.
        shared: Whether one matrix is used for each of a stack; of a sum, whether the stack is added up.
        view: What a copy is for.
        again: Whether this happened on the way along already.
    """

    kind: Kind
    read: int
    written: int
    makes: bool
    at_input: bool
    at_output: bool
    matrix: int = 0
    sizes: Sizes = (0, 0, 0, 0)
    side: int = 0
    state_left: bool = True
    shared: bool = False
    view: View | None = None
    again: bool = False

    def at(self, rows: int) -> Sizes:
        """The sizes of a product for some rows."""
        sizes = list(self.sizes)
        sizes[self.side] *= rows
        return sizes[0], sizes[1], sizes[2], sizes[3]


Stage: TypeAlias = tuple[Event, ...]


def along(chain: Chain, batch: int) -> Iterator[Stage]:
    """The stages of the way along a chain.

    Args:
        chain: The chain.
        batch: Rows that it was planned for.
    """
    for k, link in enumerate(chain.links):
        product = Event(
            kind="product",
            read=link.before,
            written=link.after,
            makes=k < len(chain.links) - 1 or chain.arrange is not None,
            at_input=k == 0,
            at_output=k == len(chain.links) - 1,
            matrix=link.matrix,
            sizes=link.sizes(batch, 1),
            side=link.batch_side,
            state_left=link.state_left,
            shared=link.spread,
        )
        yield (_copied(product, link), product) if link.state.copies else (product,)
    if chain.arrange is not None:
        yield (_arranged(chain, makes=False),)


def back(chain: Chain, batch: int, *, again: bool) -> Iterator[Stage]:
    """The stages of the way back, the last link first.

    Args:
        chain: The chain.
        batch: Rows that it was planned for.
        again: Whether states are computed again, rather than saved.
    """
    forth = list(along(chain, batch))
    if chain.arrange is not None:
        forth.pop()
        yield (_arranged(chain, makes=True),)
    for link, stage in zip(reversed(chain.links), reversed(forth), strict=True):
        event, (to_state, to_matrix) = stage[-1], _orders(link)
        added = event._replace(
            kind="sum",
            read=link.before + link.after,
            written=0,
            makes=True,
            sizes=_ordered(event.sizes, to_matrix),
            side=to_matrix.index(event.side),
        )
        product = event._replace(
            read=link.after,
            written=link.before,
            makes=not event.at_input or link.state.copies,
            sizes=_ordered(event.sizes, to_state),
            side=to_state.index(event.side),
            state_left=link.state_left != link.state.swap,
        )
        copies = (_copied(product, link),) if link.state.order is not None else ()
        once_more = stage[:-1] if event.at_output else stage  # nobody asks for the output
        yield added, product, *copies, *(each._replace(again=True) for each in once_more if again)


def _copied(product: Event, link: Link) -> Event:
    """The copy of a link's state, or of its gradient, in another order."""
    n = link.before
    return Event("copy", n, n, makes=True, at_input=product.at_input, at_output=product.at_output, view=link.state)


def _arranged(chain: Chain, *, makes: bool) -> Event:
    """The copy of the output to its order, or of its gradient from it."""
    after = chain.links[-1].after
    return Event("copy", after, after, makes, at_input=False, at_output=True, view=chain.arrange)


def _orders(link: Link) -> tuple[Sizes, Sizes]:
    """Where the sizes of a link's product stand in those of the gradients of its state and of its matrix.

    A state on the right that is viewed transposed has its gradient computed transposed too; it is not priced so.
    """
    if not link.state_left:
        return _BELOW, _BESIDE
    return _TURNED if link.state.swap else _BESIDE, _BELOW


def _ordered(sizes: Sizes, order: Sizes) -> Sizes:
    return sizes[order[0]], sizes[order[1]], sizes[order[2]], sizes[order[3]]
