"""What layers other than linear ones ask of a backend beside products: the second list of primitives.

Programs need those of `tnlayers.program.program.Primitives` alone, so a backend with linear layers has no more. Arrays
of every backend have `+ - * / // % == < >`, slices by brackets, `shape`, `ndim` and `dtype` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from tnlayers.program.program import Array, Primitives

Ints = tuple[int, ...]
Pads = Sequence[tuple[int, int]]  # of each position axis: how many before and behind


class Arithmetic(Primitives, Protocol):
    """The primitives of a backend that has layers of every kind."""

    def take(self, array: Array, places: Array) -> Array:
        """The entries of the first axis at places (n,), which replace it."""

    def one_hot(self, digits: Array, size: int, like: Array) -> Array:
        """Vectors (n, size) with a one at each digit and zeros elsewhere, in the dtype of another array."""

    def numbers(self, values: Sequence[int], like: Array) -> Array:
        """Integers as an array (on the device) of another one's backend."""

    def like(self, values: Any, array: Array) -> Array:
        """A numpy array in the dtype (and on the device) of another one."""

    def bags_of(self, starts: Array, count: int) -> Array:
        """For each of `count` ids the number of its bag, by the places where bags begin.

        Refused, as far as values are known, where the first is not 0 or one is less than that before it.
        """

    def check_ids(self, ids: Array, count: int) -> Array:
        """The ids (n,) as they are; refused where one is below 0 or not below `count`, as far as values are known."""

    def expand(self, array: Array, count: int) -> Array:
        """The array `count` times along a new first axis, without a copy where the backend can."""

    def join(self, arrays: Sequence[Array], axis: int) -> Array:
        """The arrays one after the other along an axis."""

    def flip(self, array: Array) -> Array:
        """The first axis in reverse order."""

    def where(self, condition: Array, chosen: Array | float, other: Array | float) -> Array:
        """Entries of `chosen` where a condition holds, of `other` where not; at least one of them is an array."""

    def zeros(self, shape: Ints, like: Array) -> Array:
        """Zeros in the dtype (and on the device) of another array."""

    def constant(self, array: Array) -> Array:
        """The array, through which no gradient passes."""

    def sigmoid(self, array: Array) -> Array:
        """1 / (1 + exp(-x))."""

    def tanh(self, array: Array) -> Array:
        """The hyperbolic tangent."""

    def relu(self, array: Array) -> Array:
        """max(x, 0)."""

    def erf(self, array: Array) -> Array:
        """The error function, exact to the last digits."""

    def softmax(self, array: Array) -> Array:
        """exp(x) over its sum, along the last axis."""

    def scan(self, step: Callable[[Any, Array], tuple[Any, Array]], state: Any, xs: Array) -> tuple[Any, Array]:
        """The last state, and the outputs of all steps as one array: `state, y = step(state, x)` for each of `xs`."""

    def convolve(
        self, x: Array, kernel: Array, bias: Array | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
    ) -> Array:
        """As `torch.nn.functional.conv1d` to 3d: images (n, c, *positions) under kernels (o, c / groups, *kernel)."""

    def surround(self, x: Array, pads: Pads, mode: str) -> Array:
        """Images with positions around them: "zeros", "reflect", "replicate" or "circular"."""

    def pool(self, x: Array, kernel: Ints, stride: Ints, dilation: Ints, kind: Literal["max", "sum"]) -> Array:
        """The largest entry or the sum under a window of every image, of which nothing is padded."""

    def reduce_bags(self, rows: Array, bags: Array, count: int, kind: Literal["max", "sum"]) -> Array:
        """The largest entries or the sums of the rows of each of `count` bags; zeros for a bag without rows.

        Args:
            rows: (n, features).
            bags: The number of each row's bag, (n,); `count` for a row of none.
            count: How many bags there are.
            kind: What is taken of them.
        """
