"""What a lowered contraction costs: exact counts of both passes, memory, and the estimate that plans are ranked by."""

from __future__ import annotations

from functools import reduce

from tnlayers.machine.saved_rates import machine
from tnlayers.planning.lowered import ITEMSIZES, Lowered
from tnlayers.planning.memory import memory, prepared, workspace
from tnlayers.planning.paths import linear_path
from tnlayers.planning.sliced import slicing_back_cost, slicing_cost
from tnlayers.planning.slices import pieces, times
from tnlayers.pricing.counts import NOTHING, Cost, backward_cost, dense_cost
from tnlayers.pricing.seconds import Estimator


class Priced(Lowered):
    """A lowered contraction with its price."""

    __slots__ = ()

    @property
    def cost(self) -> Cost:
        """Exact counts of the whole forward pass."""
        return reduce(Cost.__add__, self.steps, slicing_cost(self))

    @property
    def backward(self) -> Cost:
        """Exact counts of the backward pass for the gradients of `x` and all cores."""
        links = None if self.sweep is None else self.sweep.chain
        once = backward_cost(self.program, self.part, self.itemsize, links, self.chunk)
        return times(once, pieces(self.slices)) + slicing_back_cost(self)

    @property
    def flops(self) -> int:
        """Flops of the objective: of the forward pass, or of forward and backward pass."""
        return self.cost.flops + (self.backward.flops if self.objective == "training" else 0)

    @property
    def workspace(self) -> int:
        """Bytes of memory that chunks run in; it is used again by every call and every layer."""
        return workspace(self)

    @property
    def prepared(self) -> int:
        """Bytes of what is made from the cores before the batch comes, cores themselves not counted."""
        return prepared(self)

    @property
    def memory(self) -> int:
        """Bytes in use at most, beyond input, output, cores and their gradients."""
        return memory(self)

    @property
    def dense(self) -> Cost | None:
        """Cost of the dense layer of equal size at this batch, forward pass; None for an einsum."""
        if self.features is None or self.batch is None:
            return None
        return dense_cost(*self.features, self.batch, ITEMSIZES[self.dtype])

    @property
    def linear_path(self) -> tuple[tuple[int, int], ...]:
        """The path as opt_einsum writes it: positions in a list that shrinks."""
        return linear_path(len(self.contraction.operands), self.path)

    @property
    def seconds(self) -> float:
        """The estimate that plans are ranked by, with this machine's rates; no promise of a run time."""
        # Pieces prepare their cores anew in every call.
        objective = "forward" if self.slices and self.objective == "inference" else self.objective
        rates = machine(self.device, self.dtype)
        once = Estimator(self.program, self.part, self.itemsize, objective, rates).seconds(self.chunk)
        beside = slicing_cost(self) + (slicing_back_cost(self) if objective == "training" else NOTHING)
        return pieces(self.slices) * once + beside.bytes / rates.bytes_per_second
