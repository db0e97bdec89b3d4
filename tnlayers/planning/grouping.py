"""Grouping: merge neighbouring cores first, then contract the batch with the groups.

A sweep visits the cores in some order, in groups of neighbours. After the first k cores the state has the same axes
however these were grouped, so the best groupings are shortest paths from 0 to n: an edge (j, k) merges cores j..k-1
and contracts the state with the merged core, and costs the estimated seconds of both. How a group is merged is the same
problem on intervals, solved by the best place to split each. Of very many cores the groups are short, so that the
search ends in a time that grows with their number and no faster. A group of one is a core by itself, one group of all
is the rebuilt weight. A chain swept from either end, a ring, a tree and a user's own graph are all covered, given an
order.

Index sets are bit masks here: the search visits thousands of them. Costs are rough (no copies, since layouts are not
known yet); the few best candidates are lowered and estimated properly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from heapq import nsmallest
from itertools import accumulate, pairwise
from math import isqrt, prod
from operator import or_

from tnlayers.declare.graph import Contraction
from tnlayers.machine.rates import Machine
from tnlayers.pricing.limits import CALLS
from tnlayers.program.axes import Path

_KEPT = 3  # groupings that are continued per number of visited cores
# All groups of up to so many cores are tried. Of more cores only groups of few: a group of `n` has `n` places to split,
# so trying all takes the cube of their number, and so many tries an order are enough.
_WHOLE = 32
_TRIES = 2**14
# Sizes above this are priced as this: no array has more than 2^63 entries, and a product of four such sizes is a float.
_LARGEST = 2**96


@lru_cache(maxsize=2)  # "inference" asks again for what "forward" has priced, with both machines of `candidates`
def _known(
    contraction: Contraction, itemsize: int, machine: Machine, call: float
) -> tuple[dict[int, int], dict[tuple[int, int, int], float]]:
    """The entries of index sets and the seconds of products, as far as they have been worked out."""
    return {0: 1}, {}


class Rough:
    """Rough seconds of products between index sets of one contraction.

    Args:
        contraction: The sizes; the batch is an axis of operand 0 alone.
        objective: What is timed; many calls share the preparing of cores for "inference", and backward passes count
            in "training".
        itemsize: Bytes per entry.
        machine: The rates.
    """

    def __init__(self, contraction: Contraction, objective: str, itemsize: int, machine: Machine) -> None:
        self.contraction = contraction
        self.itemsize = itemsize
        self.machine = machine
        self.output = _mask(contraction.output)
        masks = [_mask(indices) for indices in contraction.operands]
        # What one operand alone has is summed before anything else.
        before = accumulate(masks, or_, initial=self.output)
        behind = [*accumulate(reversed(masks), or_, initial=0)][-2::-1]
        self.masks = [mask & (a | b) for mask, a, b in zip(masks, before, behind, strict=False)]
        self.batch = 0 if contraction.batch is None else 1 << contraction.batch
        self.on_cores = {"inference": 1 / CALLS, "training": 3.0}.get(objective, 1.0)
        self.on_batch = 3.0 if objective == "training" else 1.0
        # An operation that autograd records takes longer; `on_batch` and `on_cores` count it three times.
        self.call = machine.seconds_per_call + (machine.seconds_per_recorded / 3 if objective == "training" else 0.0)
        self._elements, self._products = _known(contraction, itemsize, machine, self.call)

    def elements(self, mask: int) -> int:
        """Entries of an array with these axes."""
        found = self._elements.get(mask)
        if found is None:
            found, left = 1, mask
            while left:
                block = left & -(1 << (left.bit_length() - 1 & ~7))  # of eight indices at most: few sets of them occur
                left ^= block
                found *= self._block(block)
            found = self._elements[mask] = min(found, _LARGEST)
        return found

    def _block(self, mask: int) -> int:
        """Entries of an array with a few axes."""
        found = self._elements.get(mask)
        if found is None:
            sizes = self.contraction.sizes
            found = self._elements[mask] = min(prod(sizes[k] for k in _indices(mask)), _LARGEST)
        return found

    def product(self, a: int, b: int, result: int) -> float:
        """Contract two arrays to one; the same from either side, so that orders of cores share what was priced."""
        weight = self.on_batch if (a | b) & self.batch else self.on_cores
        key = (a, b, result) if a < b else (b, a, result)
        found = self._products.get(key)
        if found is None:
            found = self._products[key] = self.priced(*key)
        return weight * found

    def priced(self, a: int, b: int, result: int) -> float:
        """The seconds of one product."""
        elements, machine = self.elements, self.machine
        rows, columns = sorted((elements(a & ~b), elements(b & ~a)))  # either way round, as layouts will be
        sizes = elements(a & b & result), rows, elements(a & b & ~result), columns
        entries = elements(a) + elements(b) + elements(result)
        cached = self.itemsize * entries <= machine.cache_bytes or bool((a | b) & self.batch)
        moved = machine.move(entries, self.itemsize, cached=cached) + self.call
        return machine.product(sizes) + moved

    def path(self, path: Path) -> float:
        """A whole path."""
        return sum(self.product(a, b, result) for a, b, result in self.steps(path))

    def largest(self, path: Path) -> int:
        """Entries of the largest result of a path."""
        return max((self.elements(result) for _, _, result in self.steps(path)), default=0)

    def steps(self, path: Path) -> Iterator[tuple[int, int, int]]:
        """The axes of both operands and of the result of every step of a path."""
        arrays = dict(enumerate(self.masks))
        users = [0] * len(self.contraction.sizes)  # how many arrays have an axis
        for mask in (*self.masks, self.output):
            for index in _indices(mask):
                users[index] += 1
        for number, (left, right) in enumerate(path):
            a, b = arrays.pop(left), arrays.pop(right)
            result = a ^ b
            for index in _indices(a & b):  # on two arrays that become one
                users[index] -= 1
                result |= (users[index] > 1) << index
            yield a, b, result
            arrays[len(self.masks) + number] = result


class Groups:
    """Sweeps over the cores in one order.

    Args:
        rough: Costs of products.
        order: The operands but the first, in the order in which the state meets them.
    """

    def __init__(self, rough: Rough, order: Sequence[int]) -> None:
        self.rough = rough
        self.order = tuple(order)
        n = len(self.order)
        self.widest = n if n <= _WHOLE else max(2, isqrt(_TRIES // n))
        masks = [rough.masks[k] for k in self.order]
        self.prefix, self.suffix = [0] * (n + 1), [0] * (n + 1)
        for k in range(n):
            self.prefix[k + 1] = self.prefix[k] | masks[k]
            self.suffix[n - 1 - k] = self.suffix[n - k] | masks[n - 1 - k]

    def sweeps(self) -> list[Path]:
        """Paths of the best few groupings."""
        n, x = len(self.order), self.rough.masks[0]
        states = [(x | self.prefix[k]) & (self.suffix[k] | self.rough.output) for k in range(n + 1)]
        best: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, (0,))]]
        for k in range(1, n + 1):
            grown = []
            for j in range(max(0, k - self.widest), k):
                seconds, group, _ = self.merged[j, k]
                seconds += self.rough.product(states[j], group, states[k])
                grown += [(seconds + before, (*cuts, k)) for before, cuts in best[j]]
            best.append(nsmallest(_KEPT, grown))
        return [self._path(cuts) for _, cuts in best[n]]

    @cached_property
    def merged(self) -> dict[tuple[int, int], tuple[float, int, int]]:
        """For each interval of cores: seconds to merge it, the axes of the result, and where to split."""
        n = len(self.order)
        found: dict[tuple[int, int], tuple[float, int, int]] = {}
        for length in range(1, self.widest + 1):
            for j in range(n - length + 1):
                k = j + length
                inside = self.rough.masks[self.order[j]] if length == 1 else found[j, k - 1][1] | found[k - 1, k][1]
                outside = self.prefix[j] | self.suffix[k] | self.rough.masks[0] | self.rough.output
                group = inside & outside
                ways = [
                    (found[j, m][0] + found[m, k][0] + self.rough.product(found[j, m][1], found[m, k][1], group), m)
                    for m in range(j + 1, k)
                ]
                seconds, split = min(ways, default=(0.0, j))
                found[j, k] = (seconds, group, split)
        return found

    def _path(self, cuts: tuple[int, ...]) -> Path:
        """The pairs of registers of a grouping: each group is merged, then meets the state."""
        pairs: list[tuple[int, int]] = []
        operands = len(self.order) + 1

        def contract(a: int, b: int) -> int:
            pairs.append((a, b))
            return operands + len(pairs) - 1

        def merge(j: int, k: int) -> int:
            if k - j == 1:
                return self.order[j]
            split = self.merged[j, k][2]
            return contract(merge(j, split), merge(split, k))

        state = 0
        for j, k in pairwise(cuts):
            state = contract(state, merge(j, k))
        return tuple(pairs)


def orders(operands: int, paths: Sequence[Path]) -> Iterator[tuple[int, ...]]:
    """Orders in which the state may meet the cores: as declared, from the other end, and as known paths do."""
    declared = tuple(range(1, operands))
    found = {declared: None, declared[::-1]: None}
    for path in paths:
        below: list[tuple[int, ...]] = [(k,) for k in range(operands)]
        for a, b in path:
            if 0 in below[b]:
                a, b = b, a
            below.append(below[a] + below[b])
        found[tuple(k for k in below[-1] if k)] = None
    yield from found


def _mask(indices: Sequence[int]) -> int:
    mask = 0
    for index in indices:
        mask |= 1 << index
    return mask


def _indices(mask: int) -> Iterator[int]:
    while mask:
        last = mask.bit_length() - 1
        yield last
        mask ^= 1 << last
