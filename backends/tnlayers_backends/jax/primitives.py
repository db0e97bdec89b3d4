"""The primitives on jax arrays: plain operations that every transformation of jax sees through."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

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


OPS = JaxOps()
