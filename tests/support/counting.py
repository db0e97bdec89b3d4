"""A backend of shapes and strides: it counts what a program does, and cannot see what the plan says it would do.

Whether a reshape copies is decided by the strides, as numpy and torch decide it, with no help from the layouts.
"""

from dataclasses import dataclass, field
from math import prod


def contiguous_strides(shape):
    """Strides, in entries, of an array in C order."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class Strided:
    """An array without entries."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def new(cls, *shape):
        return cls(tuple(shape), contiguous_strides(shape))

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return prod(self.shape)

    def __getitem__(self, key):  # the cut of padded outputs: a view
        keys = (slice(None),) * (self.ndim - 1) + (key[-1],) if key[0] is Ellipsis else key
        return Strided(tuple(len(range(n)[k]) for n, k in zip(self.shape, keys, strict=True)), self.strides)


def view_strides(array, shape):
    """Strides that show the array with another shape, or None where only a copy can."""
    old = [(n, s) for n, s in zip(array.shape, array.strides, strict=True) if n != 1]
    # Old axes that follow each other in memory without a gap are one.
    merged = []
    for n, s in old:
        if merged and merged[-1][1] == n * s:
            merged[-1] = (merged[-1][0] * n, s)
        else:
            merged.append((n, s))
    # Each of those must be the product of consecutive new axes.
    strides, blocks, left = [], iter(merged), 1
    for n in shape:
        if n == 1:
            strides.append(1)
            continue
        if left == 1:
            left, stride = next(blocks)
            step = left * stride
        if left % n:
            return None
        left //= n
        step //= n
        strides.append(step)
    return tuple(strides) if left == 1 else None


@dataclass
class CountingOps:
    """The primitives, counting flops and bytes by the rules of `tnlayers.pricing.counts`."""

    itemsize: int = 4
    flops: int = 0
    bytes: int = 0
    copied: int = 0
    products: list = field(default_factory=list)

    def _move(self, *counts):
        self.bytes += self.itemsize * sum(counts)

    def reshape(self, array, shape):
        if -1 in shape:
            known = -prod(shape)
            assert array.size % known == 0
            shape = tuple(array.size // known if n == -1 else n for n in shape)
        assert prod(shape) == array.size, f"{array.shape} cannot become {shape}"
        strides = view_strides(array, shape)
        if strides is not None:
            return Strided(tuple(shape), strides)
        self._move(array.size, array.size)
        self.copied += 2 * array.size * self.itemsize
        return Strided.new(*shape)

    def permute(self, array, axes):
        assert sorted(axes) == list(range(array.ndim))
        return Strided(tuple(array.shape[a] for a in axes), tuple(array.strides[a] for a in axes))

    def matmul(self, left, right):
        assert {left.ndim, right.ndim} <= {2, 3}
        *stack, rows, summed = left.shape
        *stack2, summed2, columns = right.shape
        assert summed == summed2
        assert stack == stack2 or not stack or not stack2
        stack = stack or stack2  # a single matrix is read once, however long the other's stack
        result = Strided.new(*stack, rows, columns)
        self.flops += 2 * prod(stack) * rows * summed * columns
        self._move(left.size, right.size, result.size)
        self.products.append((left, right))
        return result

    def matmul_into(self, out, left, right):
        result = self.matmul(left, right)
        assert out.shape == result.shape
        assert view_strides(out, (out.size,)) == (1,) or out.size == 1, f"{out} is not what a product writes"
        return out

    def add_product(self, total, left, right):
        *stack, rows, summed = left.shape
        assert right.shape[:-1] == (*stack, summed)
        assert total.shape in ((rows, right.shape[-1]), (*stack, rows, right.shape[-1]))
        self.flops += 2 * prod(stack) * rows * summed * right.shape[-1]
        self._move(left.size, right.size, total.size, total.size)  # reads and writes the sum
        self.products.append((left, right))
        return total

    def copy_into(self, out, array):
        assert out.shape == array.shape
        self._move(array.size, array.size)
        self.copied += 2 * array.size * self.itemsize
        return out

    def sum(self, array, axes):
        result = Strided.new(*(n for axis, n in enumerate(array.shape) if axis not in axes))
        self.flops += array.size - result.size
        self._move(array.size, result.size)
        return result

    def diagonal(self, array, axis1, axis2):
        assert array.shape[axis1] == array.shape[axis2]
        rest = [n for axis, n in enumerate(array.shape) if axis not in (axis1, axis2)]
        result = Strided.new(*rest, array.shape[axis1])
        self._move(result.size, result.size)
        return result

    def pad(self, array, count):
        result = Strided.new(*array.shape[:-1], array.shape[-1] + count)
        self._move(array.size, result.size)
        return result

    def eye(self, size, like):
        return Strided.new(size, size)


def takes_blas(operand):
    """Whether the rows or the columns of each matrix lie side by side in memory."""
    matrix = list(zip(operand.shape, operand.strides, strict=True))[-2:]
    return any(stride == 1 for size, stride in matrix if size > 1) or all(size == 1 for size, _ in matrix)


class Space:
    """A workspace without entries that watches where places lie."""

    def __init__(self, rows, limit):
        self.rows, self.limit = rows, limit

    def take(self, place):
        start, entries = place
        assert start + entries <= self.limit, f"place {place} lies outside {self.limit} entries per row"
        return Strided.new(entries * self.rows)

    def once(self, key, make, *args):
        return make(*args)


def operands(plan):
    """Shapes in the place of a plan's operands."""
    c = plan.contraction
    return [Strided.new(*(c.sizes[i] for i in indices)) for indices in c.operands]
