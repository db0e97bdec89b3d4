"""What a plan for inference may take to prepare, beside the best plan that prepares anew in every call.

A layer keeps what inference prepares, so a call need not pay for all of it. But somebody pays: the first call after
every change of the cores. Without a bound, the fastest call of a network with loops may be one whose preparing takes
hundreds of times the work and thousands of times the memory of the plan for "forward", and stops the machine.

    work:    flops, preparing included  <=  WORK * (flops of the plan for "forward" + entries cached)
    memory:  bytes in use               <=  MEMORY * (those of the plan for "forward" + bytes cached)

Kept are at most `PREPARED_LIMIT` bytes; a plan that prepares more makes it anew in every call, and is ranked like that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.pricing.limits import PREPARED_LIMIT

if TYPE_CHECKING:
    from tnlayers.planning.plan import Plan

# So many calls of the plan for "forward" may be spent in advance, and so many flops for each entry that is cached: a W
# of 784 x 256 of a `cp` of rank 16 takes 32 an entry, one of an `mpo` twice its bond dimension.
WORK = 100

# Beside what is cached there is what it is made of: halves of the network, and a copy in another order of axes.
MEMORY = 4


def within(plan: Plan, forward: Plan) -> bool:
    """Whether a plan for inference stays within its bounds.

    Args:
        plan: The plan.
        forward: The plan of the same contraction for "forward".
    """
    cached = plan.prepared if plan.prepared <= PREPARED_LIMIT else 0
    if plan.cost.flops > WORK * (forward.cost.flops + cached // plan.itemsize):
        return False
    return plan.memory <= MEMORY * (forward.memory + cached)
