"""Modes: the factors that an input or output size is split into, one per core.

A size is split so that its factors are as equal as possible (least sum) and the largest sit in the middle, where an
MPO's bonds are widest: 784 -> (4, 7, 7, 4). Sizes without small factors (a prime such as 1009) are rounded up to a
nearby size that has them; the surplus rows or columns are zeros that the layer cuts off.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt, prod
from typing import Any

from tnlayers.declare.arguments import checks_arguments
from tnlayers.errors import TNLayersError

# A size is padded only if that at least halves the sum of its factors, and by at most one part in twenty.
_PAD_GAIN = 2.0
_PAD_LIMIT = 20
# The first larger size whose factors come this close to equal ones is taken: little padding before perfect balance.
_PAD_SLACK = 1.25
_PAD_WINDOW = 256
# Divisors are found by trial up to the root: a million steps for the largest size.
_LARGEST = 2**40


class Modes(tuple[int, ...]):
    """Factors of a size, in order: a plain tuple that also knows the size it was made for.

    Attributes:
        size: The size that was asked for; `prod(modes) - size` entries are padding.
        note: One sentence when something is worth knowing (padding, factors of 1, uneven factors), else "".
    """

    size: int
    note: str

    def __new__(cls, factors: tuple[int, ...], size: int, note: str = "") -> Modes:
        """Attach the size and the note to the factors."""
        self = super().__new__(cls, factors)
        self.size = size
        self.note = note
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:  # what copy and pickle rebuild it from
        return (tuple(self), self.size, self.note)

    @property
    def padding(self) -> int:
        """Entries beyond the size asked for: 0 unless the size had to be rounded up."""
        return prod(self) - self.size


@checks_arguments()
def factorise(size: int, order: int, *, pad: bool = True) -> Modes:
    """Split a size into `order` balanced factors, the largest in the middle.

    Args:
        size: The number of features to split, at least 1.
        order: How many factors (cores) to make, at least 1.
        pad: Whether a size without balanced factors may be rounded up; if not, it is split unevenly.

    Returns:
        A tuple of `order` integers whose product is `size`, or slightly more (at most 5 %) where `size` has no balanced
        factors; `.padding` says by how much and `.note` says so in words. Missing factors are 1.

    Raises:
        TNLayersError: If `size` or `order` is not a positive integer, or `size` is above 2^40.

    Example:
        >>> factorise(784, order=4)
        (4, 7, 7, 4)
        >>> factorise(10, order=4)
        (1, 5, 2, 1)
        >>> factorise(1009, order=4), factorise(1009, order=4).padding
        ((4, 8, 8, 4), 15)
    """
    if size > _LARGEST:
        raise TNLayersError(f"factorise finds the factors of sizes up to 2^40, got {size}. Write the modes yourself.")
    factors = _balanced(size, order)
    padded = _padded(size, order, factors) if pad else factors
    if sum(factors) >= _PAD_GAIN * sum(padded):
        note = f"{size} has no balanced split into {order}: padded by {prod(padded) - size} to {prod(padded)}"
        return Modes(_middle_out(padded), size, note)
    note = ""
    if ones := sum(f == 1 for f in factors) if size > 1 else 0:
        note = f"{size} has fewer than {order} useful factors: {ones} of them are 1"
    elif max(factors) > 4 * min(factors):
        note = f"{size} splits unevenly into {order}: factors {min(factors)} to {max(factors)}"
    return Modes(_middle_out(factors), size, note)


def _padded(size: int, order: int, exact: tuple[int, ...]) -> tuple[int, ...]:
    """Factors of the nearest larger size that splits well; `exact` where it does so itself or nothing near does."""
    ideal = order * size ** (1 / order)  # the sum of `order` equal factors: no size in reach has a smaller one
    if sum(exact) < _PAD_GAIN * ideal:
        return exact
    best = exact
    for padded in range(size + 1, size + min(size // _PAD_LIMIT, _PAD_WINDOW) + 1):
        factors = _balanced(padded, order)
        if sum(factors) <= _PAD_SLACK * ideal:
            return factors
        best = min(best, factors, key=sum)
    return best


def _middle_out(factors: tuple[int, ...]) -> tuple[int, ...]:
    """Order factors so that they grow towards the middle: (1, 1, 2, 5) -> (1, 5, 2, 1)."""
    left: list[int] = []
    right: list[int] = []
    for position, factor in enumerate(sorted(factors)):
        # The first of each pair goes left, the second right, and so on by turns: 1 | 1, then 2 right, 5 left.
        (left if position % 4 in (0, 3) else right).append(factor)
    return (*left, *reversed(right))


@lru_cache(maxsize=100_000)
def _balanced(size: int, order: int) -> tuple[int, ...]:
    """The factors of `size` with the least sum (then the least maximum), ascending; 1s where factors are missing."""
    if order == 1:
        return (size,)
    best: tuple[int, ...] | None = None
    for divisor in _divisors(size):
        if divisor**order > size and divisor > 1:  # the smallest factor cannot exceed the order-th root
            break
        rest = _balanced(size // divisor, order - 1)
        found = tuple(sorted((divisor, *rest)))
        if best is None or (sum(found), max(found)) < (sum(best), max(best)):
            best = found
    assert best is not None  # 1 divides every size
    return best


@lru_cache(maxsize=100_000)
def _divisors(size: int) -> tuple[int, ...]:
    small = [d for d in range(1, isqrt(size) + 1) if size % d == 0]
    return (*small, *(size // d for d in reversed(small) if d * d != size))
