"""Estimates of small convolutions and of the products between them, by the rates that price everything else.

A step of a convolution's route is a product of matrices at each position, priced as one, or a convolution along some
dimensions. Libraries (oneDNN, cuDNN) run that at a share of the rate of a product, round channels up to full vectors in
arithmetic and in memory, and bring the input and the result from one order to another around it. What that takes beyond
a `Machine` is here, as ratios to its rates: `tnlayers calibrate` measures no convolutions.
"""

from __future__ import annotations

from tnlayers.machine.rates import LANES, Machine, Sizes
from tnlayers.pricing.counts import Cost

# The rate of a convolution between many channels to that of a large product: 70 and 150 GFLOP/s in float32 on one core
# of AVX-512 servers, with oneDNN and MKL.
CONVOLVED = 0.47

# How often a convolution comes by its input and its result: each is once more read and written in its other order.
ORDERED = 3

# Operations of the framework in a step: views ahead, the kernel from its cores, the product, and a view behind.
CALLS = 4

_BACKWARD = 2  # passes as long as the forward pass that come on top in training: one per operand


def convolved_seconds(
    machine: Machine, cost: Cost, channels: tuple[int, int, int], places: int, *, training: bool
) -> float:
    """Seconds of a convolution: of the product of matrices that it is, at a convolution's share of the rate.

    Args:
        machine: The rates.
        cost: Its exact counts, forward pass.
        channels: Its groups, and in each the channels of the input and of the result.
        places: Positions of the kernel.
        training: Whether gradients are wanted too.
    """
    groups, summed, new = channels
    rows = cost.flops // (2 * groups * summed * new * places)
    padded = [-(-side // LANES) * LANES for side in (summed, new)]  # full vectors, in memory too
    arithmetic = machine.product((groups, rows, padded[0] * places, padded[1])) / CONVOLVED
    wasted = max(padded[0] / summed, padded[1] / new)
    return _passes(machine, cost, arithmetic, ORDERED * wasted, training=training)


def multiplied_seconds(machine: Machine, cost: Cost, sizes: Sizes, *, training: bool) -> float:
    """Seconds of a product at each position, of sizes (stack, rows, summed, columns); other arguments as above."""
    return _passes(machine, cost, machine.product(sizes), 1.0, training=training)


def contracted_seconds(machine: Machine, cost: Cost, *, training: bool) -> float:
    """Seconds of contracting the cores of a kernel, whose order is not known yet; arguments as above."""
    return _passes(machine, cost, cost.flops / machine.flops_per_second, 1.0, training=training)


def _passes(machine: Machine, cost: Cost, arithmetic: float, times: float, *, training: bool) -> float:
    """Seconds of all passes, with operands and the result moved so many times, and what is saved written once."""
    result = round(times * cost.result)
    moved = machine.move(round(times * (cost.bytes - cost.copied)) - result, 1, cached=0.0)
    moved += machine.move(result, 1, cached=0.0, fresh=True)
    copied = machine.copy(cost.copied // 2, 1)
    once = arithmetic + moved + copied + CALLS * machine.seconds_per_call
    if not training:
        return once
    return (1 + _BACKWARD) * once + machine.move(cost.kept, 1, cached=0.0, fresh=True) + machine.seconds_per_recorded
