"""Estimates: how long a program takes on a machine, in chunks of a given size, and the chunk size that is fastest.

The estimate adds up arithmetic by the shape of each product, data moved at the rate of where it lies, and calls. It
ranks programs and chunk sizes; the counts that a plan states are exact and do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

from tnlayers.declare.graph import Contraction
from tnlayers.machine.rates import Machine
from tnlayers.pricing.limits import CALLS, KEPT_BYTES, PREPARED_LIMIT, prepared_bytes
from tnlayers.program.chain import chain
from tnlayers.program.events import Event, Stage, along, back
from tnlayers.program.preparing import preparation
from tnlayers.program.program import Multiply, Program, View
from tnlayers.program.sweep import sweep

_AUTOGRAD = 4  # times as long to write out a transposed matrix: half precision under autograd alone


class Estimator:
    """The seconds of one program.

    Args:
        program: The steps.
        contraction: The sizes.
        itemsize: Bytes per entry.
        objective: "forward", "training", or "inference", where many calls share what is prepared from the cores
            (`limits.CALLS`), if it is no more than a layer keeps (`PREPARED_LIMIT`).
        machine: The rates.
    """

    def __init__(
        self, program: Program, contraction: Contraction, itemsize: int, objective: str, machine: Machine
    ) -> None:
        self.program = program
        self.contraction = contraction
        self.itemsize = itemsize
        self.objective = objective
        self.machine = machine
        self.chain = chain(program, contraction)
        self.places = None if self.chain is None else sweep(self.chain)
        self._batch = 1 if contraction.batch is None else contraction.sizes[contraction.batch]

    def seconds(self, chunk: int | None) -> float:
        """The seconds of the objective with this many rows at a time, None for all rows at once."""
        one = chunk is not None and self._is_one_step
        return self._before[one] + self._chain_seconds(chunk, one=one) + self._entered(chunk)

    def _entered(self, chunk: int | None) -> float:
        """What a layer's call takes beside its operations."""
        machine = self.machine
        if self.contraction.batch is None:
            return 0.0
        if self.objective != "training":
            return machine.seconds_per_layer + (0.0 if chunk is None else machine.seconds_per_entry)
        return machine.seconds_per_training + (0.0 if chunk is None else machine.seconds_per_function)

    @cached_property
    def _before(self) -> tuple[float, float]:
        """What does not depend on the batch: by operations of the framework, and in one step with what follows."""
        prepared = range(len(self.program.steps)) if self.chain is None else self.chain.prepared
        plain, one = (sum(self._prepared(number, one=one) for number in prepared) for one in (False, True))
        return self._shared * plain, self._shared * one

    @cached_property
    def _is_one_step(self) -> bool:
        """Whether chunks are one operation of autograd with what they need prepared, in memory that is used again."""
        if self.objective != "training" or self.chain is None:
            return False
        return preparation(self.chain, self.program, self.contraction, self.itemsize) is not None

    @property
    def _shared(self) -> float:
        """The share of what is prepared that one call pays for."""
        return 1 / CALLS if self.objective == "inference" and self._fits_cache else 1.0

    @property
    def _fits_cache(self) -> bool:
        chain, operands = self.chain, self.program.operands
        return chain is None or prepared_bytes(chain, operands, self.itemsize) <= PREPARED_LIMIT

    def chunk_sizes(self) -> Iterator[int | None]:
        """Chunk sizes worth trying: all rows at once, and powers of two that run in memory which is used again."""
        yield None
        batch = self.contraction.batch
        if self.chain is None or self.places is None or batch is None or not self.chain.links:
            return
        most, rows = self.contraction.sizes[batch], 1
        per_row = self.itemsize * self.places.both
        if len(self.chain.links) == 1:  # no state is left behind: all rows at once, as one operation of autograd
            if self._is_one_step:
                yield most
            return
        while rows < most and (rows == 1 or rows * per_row <= KEPT_BYTES):
            yield rows
            rows *= 2
        if most * per_row <= KEPT_BYTES:
            yield most

    def _prepared(self, number: int, *, one: bool) -> float:
        """One step on the cores alone, with its backward pass in training."""
        step, machine = self.program.steps[number], self.machine
        passes = 3 if self.objective == "training" else 1
        registers = (*step.registers, self.program.operands + number)
        entries = [self.contraction.elements(self.program.indices[register]) for register in registers]
        cached = self.itemsize * sum(entries) <= machine.cache_bytes
        # Each pass reads two of the three arrays and writes the third, which is new unless all is one step.
        move = partial(machine.move, itemsize=self.itemsize, cached=cached)
        written = [] if one else entries if passes == 3 else entries[-1:]
        moved = passes * move(sum(entries)) + sum(move(n, fresh=True) - move(n) for n in written)
        arithmetic = machine.product(step.sizes) if isinstance(step, Multiply) else 0.0
        return (
            passes * (arithmetic + machine.seconds_per_call)
            + moved
            + self._recorded
            + min(passes, 2) * self._copies(number, entries, one=one)
        )

    def _copies(self, number: int, entries: list[int], *, one: bool) -> float:
        step = self.program.steps[number]
        if not isinstance(step, Multiply):
            return 0.0
        views = zip(entries, (step.left, step.right), strict=False)
        laid = self._permutes if one else self._laid
        return sum(laid(n, view) + self._recorded / 2 for n, (_, view) in views if view.copies)

    def _chain_seconds(self, chunk: int | None, *, one: bool) -> float:
        """The chain over the whole batch."""
        found, places, batch = self.chain, self.places, self._batch
        if found is None or places is None:
            return 0.0
        rows = batch if chunk is None else min(chunk, batch)
        training = self.objective == "training"
        # x and y come by as well, and in training their gradients.
        ends = found.links[0].before + found.links[-1].after if found.links else 0
        per_row = places.both + 2 * ends if training else places.forward + ends
        # In training the sums of the matrices' gradients are at hand too.
        matrices = (2 if training else 1) * sum(link.matrix for link in found.links)
        state_bytes = self.itemsize * (rows * per_row + matrices)
        cached = self.machine.share_at_hand(state_bytes)
        fresh = chunk is None
        forward = self._pass(rows, cached=cached, fresh=fresh)
        backward = self._back(rows, cached=cached, fresh=fresh) if training else 0.0
        # Matrices laid out for the chain: copied once, unless at hand.
        laid = [(link.matrix, link.core[1]) for link in found.links if link.core[1].copies]
        passes = 2 if training else self._shared
        copies = sum((self._permutes if one else self._laid)(n, view) for n, view in laid)
        plain = [*(link.state for link in found.links), *([] if found.arrange is None else [found.arrange])]
        recorded = len(found.links) + len(laid) + sum(view.copies for view in plain if fresh)
        return -(-batch // rows) * (forward + backward) + passes * copies + recorded * self._recorded

    @cached_property
    def _along(self) -> list[Stage]:
        """The events of the way along, of each stage the product first: in the order in which they are added up."""
        return [] if self.chain is None else [stage[::-1] for stage in along(self.chain, self._batch)]

    @cached_property
    def _ways_back(self) -> dict[bool, list[Stage]]:
        """The events of the way back, the first link first, by whether states are computed again."""
        found = self.chain
        return {
            again: [] if found is None else list(back(found, self._batch, again=again))[::-1] for again in (False, True)
        }

    def _pass(self, rows: int, *, cached: float, fresh: bool) -> float:
        """Some rows through the chain once; the result goes to new memory."""
        machine, itemsize, call = self.machine, self.itemsize, self._call(fresh=fresh)
        total = 0.0
        for stage in self._along:
            for event in stage:
                if event.view is not None:
                    total += self._permutes(rows * event.written, event.view) if event.view.copies else 0.0
                    continue
                total += machine.product(event.at(rows)) + call
                total += machine.move(rows * event.read, itemsize, cached=0.0 if event.at_input else cached)
                total += machine.move(event.matrix, itemsize, cached=cached)
                out = 0.0 if event.at_output else cached
                total += machine.move(rows * event.written, itemsize, cached=out, fresh=fresh or event.at_output)
            total += self._repeats(stage[0], rows)
        return total

    def _back(self, rows: int, *, cached: float, fresh: bool) -> float:
        """Some rows back, with the states computed again unless the pass was fresh."""
        machine, itemsize, call = self.machine, self.itemsize, self._call(fresh=fresh)
        total = 0.0
        for first, *others in self._ways_back[not fresh]:
            if first.view is not None:
                total += self._permutes(rows * first.written, first.view) if first.view.copies else 0.0
                continue
            product, products = others[0], 2
            total += machine.product(product.at(rows)) + machine.summed_product(first.at(rows))
            for event in others[1:]:
                if event.view is None:
                    products += 1
                    total += machine.product(event.at(rows))
            total += call * products
            # Each product comes by the state and the result; the matrix is read, and its gradient read and written.
            total += machine.move(products * rows * first.read + 3 * first.matrix, itemsize, cached=cached)
            total = self._added(total, first, rows, cached=cached, fresh=fresh)
            total += self._repeats(product, rows) * (_AUTOGRAD if fresh else products - 1)
            near, new = 0.0 if product.at_input else cached, fresh or product.at_input
            total += machine.move(rows * product.written, itemsize, cached=near, fresh=new)
            for event in others[1:]:
                if event.view is not None and not event.again:  # second copies of states are left out
                    total += self._permutes(rows * event.written, event.view)
        return total

    def _added(self, total: float, event: Event, rows: int, *, cached: float, fresh: bool) -> float:
        """The seconds so far, and those of adding up the products of a stack to the gradient of their matrix."""
        if not event.shared:
            return total
        machine, itemsize, each = self.machine, self.itemsize, event.at(rows)[0] * event.matrix
        if fresh:  # autograd makes one gradient per matrix of the stack, and adds them up
            near = cached if 2 * itemsize * each <= machine.cache_bytes else 0.0
            total += machine.move(each, itemsize, cached=near, fresh=True) + self._call(fresh=True)
            return total + machine.move(each, itemsize, cached=near)
        # Few at a time in the cache; in half precision both operands are gathered instead.
        total += machine.move(2 * each, itemsize, cached=True)
        return total + machine.repeat(rows * event.read, itemsize)

    def _repeats(self, event: Event, rows: int) -> float:
        """Writing out the matrix for each of a stack."""
        return self.machine.repeat(event.at(rows)[0] * event.matrix, self.itemsize) if event.shared else 0.0

    @property
    def _recorded(self) -> float:
        """What autograd adds to one product or copy, both ways."""
        return self.machine.seconds_per_recorded if self.objective == "training" else 0.0

    def _call(self, *, fresh: bool) -> float:
        return self.machine.seconds_per_call if fresh else self.machine.seconds_per_chunk_call

    def _laid(self, entries: int, view: View) -> float:
        """A copy of what comes from the cores, into new memory."""
        move = partial(self.machine.move, entries, self.itemsize, cached=False)
        return self._permutes(entries, view) + move(fresh=True) - move()

    def _permutes(self, entries: int, view: View) -> float:
        copied = self.machine.copy(entries, self.itemsize, view.stretch, view.near)
        return copied + self.machine.seconds_per_call
