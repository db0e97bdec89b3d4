"""The primitives on jax arrays: plain operations that every transformation of jax sees through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tnlayers.cores.arithmetic import Ints, Pads
from tnlayers.errors import TNLayersError


class JaxOps:
    """The primitives, each one call of `jax.numpy`."""

    def reshape(self, array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """As `jax.numpy.reshape`; sizes may be symbolic."""
        return jnp.reshape(array, shape)

    def permute(self, array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        """As `jax.numpy.transpose`; compiled code fuses it into its reader."""
        return jnp.transpose(array, axes)

    def matmul(self, left: jax.Array, right: jax.Array) -> jax.Array:
        """As `jax.numpy.matmul`, with the precision that `jax.default_matmul_precision` asks for."""
        if left.ndim < right.ndim:  # the stack is kept outermost, where XLA would move it in between and back again
            return self.matmul(right.mT, left.mT).mT
        product: jax.Array = jnp.matmul(left, right)
        return product

    def matmul_into(self, out: None, left: jax.Array, right: jax.Array) -> jax.Array:
        """As `matmul`: XLA chooses the memory."""
        return self.matmul(left, right)

    def add_product(self, total: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
        """`total + left @ right`, summed over the stack where `total` is one matrix, in the precision of `total`."""
        if total.ndim == left.ndim:
            return total + jnp.matmul(left, right, preferred_element_type=total.dtype)
        summed = (((0, 2), (0, 1)), ((), ()))  # the stack, and what every product sums
        return total + jax.lax.dot_general(left, right, summed, preferred_element_type=total.dtype)

    def copy_into(self, out: None, array: jax.Array) -> jax.Array:
        """The array itself: its entries stand in the order of its axes."""
        return array

    def sum(self, array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        """As `jax.numpy.sum`."""
        return jnp.sum(array, axis=axes, dtype=array.dtype)

    def diagonal(self, array: jax.Array, axis1: int, axis2: int) -> jax.Array:
        """As `jax.numpy.diagonal`."""
        found: jax.Array = jnp.diagonal(array, axis1=axis1, axis2=axis2)
        return found

    def pad(self, array: jax.Array, count: int) -> jax.Array:
        """`count` zeros behind the last axis."""
        return jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, count)])

    def eye(self, size: int, like: jax.Array) -> jax.Array:
        """The identity matrix in the dtype of `like`."""
        return jnp.eye(size, dtype=like.dtype)

    def qr(self, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        """As `jax.numpy.linalg.qr`."""
        q, r = jnp.linalg.qr(matrix)
        return q, r

    def svd(self, matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `jax.numpy.linalg.svd`, reduced; of a stack, each matrix by itself."""
        u, s, vh = jnp.linalg.svd(matrix, full_matrices=False)
        return u, s, vh

    def singular_values(self, matrix: jax.Array) -> jax.Array:
        """As `jax.numpy.linalg.svdvals`."""
        return jnp.linalg.svdvals(matrix)

    def eigenvectors(self, matrix: jax.Array) -> jax.Array:
        """As `jax.numpy.linalg.eigh`, without the eigenvalues."""
        vectors: jax.Array = jnp.linalg.eigh(matrix)[1]
        return vectors

    def solve(self, matrix: jax.Array, right: jax.Array) -> jax.Array:
        """As `jax.numpy.linalg.solve`, of stacks."""
        found: jax.Array = jnp.linalg.solve(matrix, right)
        return found

    def like(self, values: np.ndarray, array: jax.Array) -> jax.Array:
        """A numpy array in the dtype of a jax array."""
        return jnp.asarray(values, array.dtype)

    def cast(self, array: jax.Array, dtype: str) -> jax.Array:
        """As `astype`, by the dtype's name.

        Raises:
            TNLayersError: If jax is not in its 64-bit mode and would silently take a narrower dtype.
        """
        found = array.astype(dtype) if jax.dtypes.canonicalize_dtype(dtype) == jnp.dtype(dtype) else None
        if found is None:
            raise TNLayersError(
                f"This needs {dtype}, which jax has in its 64-bit mode alone: set jax.config.update('jax_enable_x64', "
                "True) first, or pass a numpy array."
            )
        return found

    # What layers of other kinds ask for (`tnlayers.cores.arithmetic`).

    def take(self, array: jax.Array, places: jax.Array) -> jax.Array:
        """As `array[places]`; where a place is none, the entries are nan."""
        found: jax.Array = array.at[places].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return found

    def one_hot(self, digits: jax.Array, size: int, like: jax.Array) -> jax.Array:
        """As `jax.nn.one_hot`; nan for a digit that is none."""
        found: jax.Array = jax.nn.one_hot(digits, size, dtype=like.dtype)
        return jnp.where(((digits < 0) | (digits >= size))[:, None], jnp.nan, found).astype(like.dtype)

    def numbers(self, values: Sequence[int], like: jax.Array) -> jax.Array:
        """As `jax.numpy.asarray`, of jax's own integers."""
        return jnp.asarray(np.asarray(values, np.int32))

    def bags_of(self, starts: jax.Array, count: int) -> jax.Array:
        """As `jax.numpy.searchsorted`.

        Raises:
            TNLayersError: If the places are none at which bags begin, and no trace hides them.
        """
        if not isinstance(starts, jax.core.Tracer):
            known = np.asarray(starts)
            wrong = count if not len(known) else known[0] or (np.diff(known) < 0).any() or known[-1] > count
            if wrong:
                raise TNLayersError(
                    f"offsets={str(known)[:80]} are no places at which bags of {count} ids begin: the first is 0, none "
                    "is less than that before it, and none beyond the ids."
                )
        found: jax.Array = jnp.searchsorted(starts, jnp.arange(count), side="right") - 1
        return found

    def check_ids(self, ids: jax.Array, count: int) -> jax.Array:
        """The ids; while traced, one that is out of range becomes -1, whose rows are nan.

        Raises:
            TNLayersError: If one is out of range, and no trace hides it.
        """
        wrong = (ids < 0) | (ids >= count)
        if isinstance(ids, jax.core.Tracer):
            return jnp.where(wrong, -1, ids)
        if wrong.any():
            raise TNLayersError(
                f"Id {int(ids[wrong][0])} is out of range: the table has {count} rows, 0 to {count - 1}."
            )
        return ids

    def expand(self, array: jax.Array, count: int) -> jax.Array:
        """As `jax.numpy.broadcast_to`."""
        return jnp.broadcast_to(array, (count, *array.shape))

    def join(self, arrays: Sequence[jax.Array], axis: int) -> jax.Array:
        """As `jax.numpy.concatenate`."""
        return jnp.concatenate(arrays, axis)

    def flip(self, array: jax.Array) -> jax.Array:
        """As `jax.numpy.flip`."""
        return jnp.flip(array, 0)

    def where(self, condition: jax.Array, chosen: jax.Array | float, other: jax.Array | float) -> jax.Array:
        """As `jax.numpy.where`."""
        return jnp.where(condition, chosen, other)

    def zeros(self, shape: Ints, like: jax.Array) -> jax.Array:
        """As `jax.numpy.zeros`."""
        return jnp.zeros(shape, like.dtype)

    def constant(self, array: jax.Array) -> jax.Array:
        """As `jax.lax.stop_gradient`."""
        return jax.lax.stop_gradient(array)

    def sigmoid(self, array: jax.Array) -> jax.Array:
        """As `jax.nn.sigmoid`."""
        return jax.nn.sigmoid(array)

    def tanh(self, array: jax.Array) -> jax.Array:
        """As `jax.numpy.tanh`."""
        return jnp.tanh(array)

    def relu(self, array: jax.Array) -> jax.Array:
        """As `jax.nn.relu`, whose derivative at 0 is 0."""
        found: jax.Array = jax.nn.relu(array)
        return found

    def erf(self, array: jax.Array) -> jax.Array:
        """As `jax.scipy.special.erf`."""
        return jax.scipy.special.erf(array)

    def softmax(self, array: jax.Array) -> jax.Array:
        """As `jax.nn.softmax`."""
        return jax.nn.softmax(array)

    def scan(
        self, step: Callable[[Any, jax.Array], tuple[Any, jax.Array]], state: Any, xs: jax.Array
    ) -> tuple[Any, jax.Array]:
        """As `jax.lax.scan`."""
        end, outputs = jax.lax.scan(step, state, xs)
        return end, outputs

    def convolve(
        self,
        x: jax.Array,
        kernel: jax.Array,
        bias: jax.Array | None,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        groups: int,
    ) -> jax.Array:
        """As `jax.lax.conv_general_dilated`."""
        y: jax.Array = jax.lax.conv_general_dilated(
            x, kernel, stride, [(n, n) for n in padding], rhs_dilation=dilation, feature_group_count=groups
        )
        return y if bias is None else y + bias.reshape(-1, *[1] * (kernel.ndim - 2))

    def surround(self, x: jax.Array, pads: Pads, mode: str) -> jax.Array:
        """As `jax.numpy.pad`."""
        kinds = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
        return jnp.pad(x, [(0, 0), (0, 0), *pads], mode=kinds[mode])

    def pool(self, x: jax.Array, kernel: Ints, stride: Ints, dilation: Ints, kind: Literal["max", "sum"]) -> jax.Array:
        """As `jax.lax.reduce_window`."""
        start = -jnp.inf if kind == "max" else 0.0
        reduce = jax.lax.max if kind == "max" else jax.lax.add
        found: jax.Array = jax.lax.reduce_window(
            x, np.asarray(start, x.dtype), reduce, (1, 1, *kernel), (1, 1, *stride), "VALID", None, (1, 1, *dilation)
        )
        return found

    def reduce_bags(self, rows: jax.Array, bags: jax.Array, count: int, kind: Literal["max", "sum"]) -> jax.Array:
        """As `jax.ops.segment_sum` and `segment_max`."""
        if kind == "sum":
            return jax.ops.segment_sum(rows, bags, count)
        empty = jax.ops.segment_sum(jnp.ones(len(bags)), bags, count) == 0
        return jnp.where(empty[:, None], 0, jax.ops.segment_max(rows, bags, count))


OPS = JaxOps()
