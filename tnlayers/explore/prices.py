"""What follows from an order alone: flops, bytes of the products, and intermediates, whatever layout they lie in.

These are the counts of `pricing/counts.py` without copies and without chunks, so that anything that knows the sizes can
count them: the explorer's page does, in JavaScript, and a test holds it to these numbers. Copies, chunks and seconds
follow from the layout search and the machine; they are Python's to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tnlayers.draw.steps import plan_steps
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Arrange

DTYPE = "float32"  # what the explorer counts bytes for


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The counts of one step, or of a whole order.

    Attributes:
        flops: Floating-point operations of the forward pass.
        bytes: Bytes that products read and write, copies not counted.
        largest: Bytes of the largest result.
        memory: Bytes of the intermediates that are alive at once, the result included, at most.
    """

    flops: int
    bytes: int
    largest: int
    memory: int


def step_prices(plan: Plan) -> tuple[Price, ...]:
    """The price of every step but a last rearrangement, which depends on the layout.

    Example:
        >>> import tnlayers as tnl
        >>> [price.flops for price in step_prices(tnl.plan("lowrank(in=8, out=4, rank=2)", batch=10))]
        [320, 160]
    """
    whole = replace(plan, chunk=None)
    return tuple(
        Price(
            flops=row.cost.flops,
            bytes=row.cost.bytes - row.cost.copied,
            largest=row.cost.result,
            memory=row.alive,
        )
        for row, step in zip(plan_steps(whole), whole.program.steps, strict=True)
        if not isinstance(step, Arrange)
    )


def total(prices: tuple[Price, ...]) -> Price:
    """The price of all steps together."""
    return Price(
        flops=sum(price.flops for price in prices),
        bytes=sum(price.bytes for price in prices),
        largest=max((price.largest for price in prices), default=0),
        memory=max((price.memory for price in prices), default=0),
    )
