"""The primitives on numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf, prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tnlayers.cores.arithmetic import Ints, Pads
from tnlayers.errors import TNLayersError

Array = npt.NDArray[Any]

_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}

_ERF = np.frompyfunc(erf, 1, 1)


class NumpyOps:
    """The primitives, each one call of numpy."""

    def reshape(self, array: Array, shape: tuple[int, ...]) -> Array:
        """As `numpy.reshape`: a view where the memory order allows."""
        return array.reshape(shape)

    def permute(self, array: Array, axes: tuple[int, ...]) -> Array:
        """As `numpy.transpose`: a view."""
        return array.transpose(axes)

    def matmul(self, left: Array, right: Array) -> Array:
        """As `numpy.matmul` on 2-D or 3-D arrays."""
        product: Array = np.matmul(left, right)
        return product

    def matmul_into(self, out: Array, left: Array, right: Array) -> Array:
        """As `matmul`, into memory at hand."""
        return np.matmul(left, right, out=out)

    def copy_into(self, out: Array, array: Array) -> Array:
        """As `numpy.copyto`."""
        np.copyto(out, array)
        return out

    def sum(self, array: Array, axes: tuple[int, ...]) -> Array:
        """As `numpy.sum`; a 0-d array where every axis goes."""
        return np.asarray(np.sum(array, axis=axes, dtype=array.dtype))

    def diagonal(self, array: Array, axis1: int, axis2: int) -> Array:
        """As `numpy.diagonal`, copied so that the result is contiguous."""
        return np.ascontiguousarray(np.diagonal(array, axis1=axis1, axis2=axis2))

    def pad(self, array: Array, count: int) -> Array:
        """`count` zeros behind the last axis."""
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, count)])

    def eye(self, size: int, like: Array) -> Array:
        """The identity matrix in the dtype of `like`."""
        return np.eye(size, dtype=like.dtype)

    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """As `numpy.linalg.qr`."""
        q, r = np.linalg.qr(matrix)
        return q, r

    def svd(self, matrix: Array) -> tuple[Array, Array, Array]:
        """As `numpy.linalg.svd`, reduced; of a stack, each matrix by itself."""
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        return u, s, vh

    def singular_values(self, matrix: Array) -> Array:
        """As `numpy.linalg.svd` without vectors."""
        return np.linalg.svd(matrix, compute_uv=False)

    def eigenvectors(self, matrix: Array) -> Array:
        """As `numpy.linalg.eigh`, without the eigenvalues."""
        return np.linalg.eigh(matrix)[1]

    def solve(self, matrix: Array, right: Array) -> Array:
        """As `numpy.linalg.solve`, of stacks."""
        return np.linalg.solve(matrix, right)

    def like(self, values: Array, array: Array) -> Array:
        """An array in the dtype of another."""
        return values.astype(array.dtype)

    def cast(self, array: Array, dtype: str) -> Array:
        """As `numpy.ndarray.astype`, without a copy where nothing changes."""
        return array.astype(dtype, copy=False)

    # What layers of other kinds ask for (`tnlayers.cores.arithmetic`).

    def take(self, array: Array, places: Array) -> Array:
        """As `numpy.take` along the first axis."""
        found: Array = array[places]
        return found

    def one_hot(self, digits: Array, size: int, like: Array) -> Array:
        """A comparison of each digit with all numbers."""
        found: Array = (digits[:, None] == np.arange(size)).astype(like.dtype)
        return found

    def numbers(self, values: Sequence[int], like: Array) -> Array:
        """As `numpy.asarray`."""
        return np.asarray(values, np.int64)

    def bags_of(self, starts: Array, count: int) -> Array:
        """As `numpy.searchsorted`.

        Raises:
            TNLayersError: If the places are none at which bags begin.
        """
        if count if not len(starts) else starts[0] or (np.diff(starts) < 0).any() or starts[-1] > count:
            raise TNLayersError(
                f"offsets={str(starts)[:80]} are no places at which bags of {count} ids begin: the first is 0, none is "
                "less than that before it, and none beyond the ids."
            )
        return np.searchsorted(starts, np.arange(count), side="right") - 1

    def check_ids(self, ids: Array, count: int) -> Array:
        """The ids.

        Raises:
            TNLayersError: If one is out of range.
        """
        if ids.size and (ids.min() < 0 or ids.max() >= count):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise TNLayersError(f"Id {wrong} is out of range: the table has {count} rows, 0 to {count - 1}.")
        return ids

    def expand(self, array: Array, count: int) -> Array:
        """As `numpy.broadcast_to`: a view."""
        return np.broadcast_to(array, (count, *array.shape))

    def join(self, arrays: Sequence[Array], axis: int) -> Array:
        """As `numpy.concatenate`."""
        return np.concatenate(arrays, axis)

    def flip(self, array: Array) -> Array:
        """A view."""
        return array[::-1]

    def where(self, condition: Array, chosen: Array | float, other: Array | float) -> Array:
        """As `numpy.where`."""
        return np.where(condition, chosen, other)

    def zeros(self, shape: Ints, like: Array) -> Array:
        """As `numpy.zeros`."""
        return np.zeros(shape, like.dtype)

    def constant(self, array: Array) -> Array:
        """The array itself."""
        return array

    def sigmoid(self, array: Array) -> Array:
        """By the hyperbolic tangent, which does not overflow."""
        half: Array = np.tanh(array / 2)
        found: Array = half / 2 + np.asarray(0.5, array.dtype)
        return found

    def tanh(self, array: Array) -> Array:
        """As `numpy.tanh`."""
        found: Array = np.tanh(array)
        return found

    def relu(self, array: Array) -> Array:
        """As `numpy.maximum` with zero."""
        return np.maximum(array, np.zeros((), array.dtype))

    def erf(self, array: Array) -> Array:
        """As `math.erf`, entry by entry: numpy has none."""
        found: Array = np.asarray(_ERF(array)).astype(array.dtype)
        return found

    def softmax(self, array: Array) -> Array:
        """Along the last axis, the largest entry taken away before."""
        powers: Array = np.exp(array - array.max(-1, keepdims=True))
        found: Array = powers / powers.sum(-1, keepdims=True)
        return found

    def scan(self, step: Callable[[Any, Array], tuple[Any, Array]], state: Any, xs: Array) -> tuple[Any, Array]:
        """A loop."""
        outputs = []
        for x in xs:
            state, y = step(state, x)
            outputs.append(y)
        if not outputs:
            return state, np.zeros((0, *state[0].shape), state[0].dtype)
        return state, np.stack(outputs)

    def convolve(
        self, x: Array, kernel: Array, bias: Array | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
    ) -> Array:
        """Patches under the kernel times the kernel as a matrix, group by group."""
        dims = kernel.ndim - 2
        if any(padding):
            x = self.surround(x, [(n, n) for n in padding], "zeros")
        batch, channels, out = len(x), kernel.shape[1], kernel.shape[0] // groups
        patches = _windows(x, kernel.shape[2:], stride, dilation)  # (batch, channels, *positions, *kernel)
        positions = patches.shape[2 : 2 + dims]
        patches = patches.reshape(batch, groups, channels, *positions, *kernel.shape[2:])
        order = (0, 1, *range(3, 3 + dims), 2, *range(3 + dims, 3 + 2 * dims))
        rows = patches.transpose(order).reshape(batch, groups, prod(positions), channels * prod(kernel.shape[2:]))
        columns = kernel.reshape(groups, out, channels * prod(kernel.shape[2:])).transpose(0, 2, 1)
        y: Array = np.matmul(rows, columns).transpose(0, 1, 3, 2).reshape(batch, groups * out, *positions)
        return y if bias is None else y + bias.reshape(-1, *[1] * dims)

    def surround(self, x: Array, pads: Pads, mode: str) -> Array:
        """As `numpy.pad`."""
        kind: Any = _PAD_MODES[mode]
        return np.pad(x, [(0, 0), (0, 0), *pads], kind)

    def pool(self, x: Array, kernel: Ints, stride: Ints, dilation: Ints, kind: Literal["max", "sum"]) -> Array:
        """The largest entry or the sum of each window."""
        windows = _windows(x, kernel, stride, dilation)
        axes = tuple(range(x.ndim, windows.ndim))
        return np.asarray(windows.max(axes) if kind == "max" else windows.sum(axes, dtype=x.dtype))

    def reduce_bags(self, rows: Array, bags: Array, count: int, kind: Literal["max", "sum"]) -> Array:
        """As `numpy.add.at` and `numpy.maximum.at`."""
        start = -np.inf if kind == "max" else 0
        found = np.full((count + 1, *rows.shape[1:]), start, rows.dtype)
        (np.maximum if kind == "max" else np.add).at(found, bags, rows)
        if kind == "max":
            found[np.bincount(bags, minlength=count + 1) == 0] = 0
        return found[:count]


def _windows(x: Array, kernel: Ints, stride: Ints, dilation: Ints) -> Array:
    """A view of what lies under a kernel at each position: (batch, channels, *positions, *kernel).

    Raises:
        TNLayersError: If the kernel does not fit into the image.
    """
    spans = tuple(step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True))
    if any(size < span for size, span in zip(x.shape[2:], spans, strict=True)):
        raise TNLayersError(
            f"An image of {x.shape[2:]} positions, padding included, is smaller than the window of {spans}."
        )
    views = sliding_window_view(x, spans, tuple(range(2, x.ndim)))
    places = (slice(None), slice(None), *(slice(None, None, n) for n in stride))
    return views[(*places, *(slice(None, None, n) for n in dilation))]


OPS = NumpyOps()
