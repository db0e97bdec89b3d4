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
from tnlayers.program.chain import Chain, Link, chain
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

    def seconds(self, chunk: int | None) -> float:
        """The seconds of the objective with this many rows at a time, None for all rows at once."""
        return self._before + self._carried(chunk) + self._entered(chunk)

    def _entered(self, chunk: int | None) -> float:
        """What a layer's call takes beside its operations."""
        machine = self.machine
        if self.contraction.batch is None:
            return 0.0
        if self.objective != "training":
            return machine.seconds_per_layer + (0.0 if chunk is None else machine.seconds_per_entry)
        return machine.seconds_per_training + (0.0 if chunk is None else machine.seconds_per_function)

    @cached_property
    def _before(self) -> float:
        """What does not depend on the batch."""
        prepared = range(len(self.program.steps)) if self.chain is None else self.chain.prepared
        return self._shared * sum(self._prepared(number) for number in prepared)

    @property
    def _shared(self) -> float:
        """The share of what is prepared that one call pays for."""
        return 1 / CALLS if self.objective == "inference" and self._is_kept else 1.0

    @property
    def _is_kept(self) -> bool:
        chain, operands = self.chain, self.program.operands
        return chain is None or prepared_bytes(chain, operands, self.itemsize) <= PREPARED_LIMIT

    def chunk_sizes(self) -> Iterator[int | None]:
        """Chunk sizes worth trying: all rows at once, and powers of two that run in memory which is kept."""
        yield None
        batch = self.contraction.batch
        if self.chain is None or self.places is None or batch is None or len(self.chain.links) < 2:
            return
        most, rows = self.contraction.sizes[batch], 1
        per_row = self.itemsize * self.places.both
        while rows < most and (rows == 1 or rows * per_row <= KEPT_BYTES):
            yield rows
            rows *= 2
        if most * per_row <= KEPT_BYTES:
            yield most

    def _prepared(self, number: int) -> float:
        """One step on the cores alone, with its backward pass in training."""
        step, machine = self.program.steps[number], self.machine
        passes = 3 if self.objective == "training" else 1
        registers = (*step.registers, self.program.operands + number)
        entries = [self.contraction.elements(self.program.indices[register]) for register in registers]
        cached = self.itemsize * sum(entries) <= machine.cache_bytes
        # Each pass reads two of the three arrays and writes the third, which is new.
        move = partial(machine.move, itemsize=self.itemsize, cached=cached)
        written = entries if passes == 3 else entries[-1:]
        moved = passes * move(sum(entries)) + sum(move(n, fresh=True) - move(n) for n in written)
        arithmetic = machine.product(step.sizes) if isinstance(step, Multiply) else 0.0
        return (
            passes * (arithmetic + machine.seconds_per_call)
            + moved
            + self._recorded
            + min(passes, 2) * self._copies(number, entries)
        )

    def _copies(self, number: int, entries: list[int]) -> float:
        step = self.program.steps[number]
        if not isinstance(step, Multiply):
            return 0.0
        views = zip(entries, (step.left, step.right), strict=False)
        return sum(self._laid(n, view) + self._recorded / 2 for n, (_, view) in views if view.copies)

    def _carried(self, chunk: int | None) -> float:
        """The chain over the whole batch."""
        contraction, found, places = self.contraction, self.chain, self.places
        if found is None or places is None or contraction.batch is None:
            return 0.0
        batch = contraction.sizes[contraction.batch]
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
        forward = self._pass(found, batch, rows, cached=cached, fresh=fresh)
        backward = self._back(found, batch, rows, cached=cached, fresh=fresh) if training else 0.0
        # Matrices laid out for the chain: copied once, unless at hand.
        laid = [(link.matrix, link.core[1]) for link in found.links if link.core[1].copies]
        passes = 2 if training else self._shared
        copies = sum(self._laid(n, view) for n, view in laid)
        plain = [*(link.state for link in found.links), *([] if found.arrange is None else [found.arrange])]
        recorded = len(found.links) + len(laid) + sum(view.copies for view in plain if fresh)
        return -(-batch // rows) * (forward + backward) + passes * copies + recorded * self._recorded

    def _pass(self, found: Chain, batch: int, rows: int, *, cached: float, fresh: bool) -> float:
        """Some rows through the chain once; the result goes to new memory."""
        machine, last, call = self.machine, len(found.links) - 1, self._call(fresh=fresh)
        total = 0.0
        for k, link in enumerate(found.links):
            at_hand = cached if k > 0 else 0.0
            total += machine.product(link.sizes(batch, rows)) + call
            total += machine.move(rows * link.before, self.itemsize, cached=at_hand)
            total += machine.move(link.matrix, self.itemsize, cached=cached)
            total += machine.move(
                rows * link.after, self.itemsize, cached=cached if k < last else 0.0, fresh=fresh or k == last
            )
            total += self._permutes(rows * link.before, link.state) if link.state.copies else 0.0
            total += self._repeats(link, batch, rows)
        if found.arrange is not None and found.arrange.copies:
            total += self._permutes(rows * found.links[-1].after, found.arrange)
        return total

    def _back(self, found: Chain, batch: int, rows: int, *, cached: float, fresh: bool) -> float:
        """Some rows back, with the states computed again unless the pass was fresh."""
        machine, call = self.machine, self._call(fresh=fresh)
        total = 0.0
        for k, link in enumerate(found.links):
            sizes = link.sizes(batch, rows)
            again = not fresh and k < len(found.links) - 1
            to_state, to_matrix = link.back_sizes(sizes)
            total += machine.product(to_state) + machine.summed_product(to_matrix)
            total += machine.product(sizes) if again else 0.0
            total += call * (3 if again else 2)
            moved = (3 if again else 2) * rows * (link.before + link.after) + 3 * link.matrix
            total += machine.move(moved, self.itemsize, cached=cached, fresh=False)
            if fresh and link.spread:  # autograd makes one gradient per matrix of the stack, and adds them up
                each = sizes[0] * link.matrix
                near = cached if 2 * self.itemsize * each <= machine.cache_bytes else 0.0
                total += machine.move(each, self.itemsize, cached=near, fresh=True) + call
                total += machine.move(each, self.itemsize, cached=near)
            elif link.spread:  # few at a time in the cache; in half precision both operands are gathered instead
                total += machine.move(2 * sizes[0] * link.matrix, self.itemsize, cached=True)
                total += machine.repeat(rows * (link.before + link.after), self.itemsize)
            total += self._repeats(link, batch, rows) * (2 if again else _AUTOGRAD if fresh else 1)
            total += machine.move(
                rows * link.before, self.itemsize, cached=cached if k > 0 else 0.0, fresh=fresh or k == 0
            )
            total += self._permutes(rows * link.before, link.state) if link.state.order is not None else 0.0
        if found.arrange is not None and found.arrange.copies:
            total += self._permutes(rows * found.links[-1].after, found.arrange)
        return total

    def _repeats(self, link: Link, batch: int, rows: int) -> float:
        """Writing out the matrix for each of a stack."""
        return self.machine.repeat(link.sizes(batch, rows)[0] * link.matrix, self.itemsize) if link.spread else 0.0

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
