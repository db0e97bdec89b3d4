"""The leading singular vectors of a matrix: what a bond keeps of it, and exactly how much it leaves out.

A truncated SVD needs the leading left vectors U alone: what goes on to the next core is U^H A. They come from the
Hermitian eigenproblem of the lesser side, which is two to ten times faster than an SVD (Golub and Van Loan 2013,
Matrix Computations, section 8.6):

    A A^H = V L V^H        U = V_k                    rows <= columns
    A^H A = V L V^H        U = orthonormal(A V_k)     rows >  columns

Rounding blurs the eigenvalues by eps ||A||^2, and what is left out may exceed the least possible by as much. So U is
taken where more than root(eps) ||A||^2 is left out, of which that is nothing; else the SVD decides. Whatever U is,
U U^H A is an orthogonal projection of A: ||A - U U^H A|| is the weight that is discarded, not an estimate of it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from tnlayers.cores.canonical import Factoring
from tnlayers.program.program import Array, Primitives


@runtime_checkable
class Splitting(Factoring, Protocol):
    """The primitives of a backend that has a QR, a singular value and an eigenvalue decomposition."""

    def svd(self, matrix: Array) -> tuple[Array, Array, Array]:
        """U (.., rows, k), s (.., k) descending, V^H (.., k, columns), k the lesser size: `numpy.linalg.svd`."""

    def singular_values(self, matrix: Array) -> Array:
        """S alone, which takes less than half of the time."""

    def eigenvectors(self, matrix: Array) -> Array:
        """Of a Hermitian matrix as columns, by ascending eigenvalue: `numpy.linalg.eigh`."""

    def solve(self, matrix: Array, right: Array) -> Array:
        """X with A X = B, for stacks (n, b, b) and (n, b, m): `numpy.linalg.solve`."""

    def like(self, values: Any, array: Array) -> Array:
        """A numpy array in the kind, dtype and place of another array."""


def leading(ops: Splitting, matrix: Array, count: int) -> tuple[Array, Array, float]:
    """U and U^H A for the largest singular values, and the squared norm of what they leave out.

    Args:
        ops: The primitives of the matrix's backend.
        matrix: Of shape (rows, columns).
        count: How many values to keep; where there are no more, nothing is left out.

    Returns:
        U of shape (rows, kept), U^H A of shape (kept, columns), and ||A - U U^H A||^2.

    Example:
        >>> import numpy as np
        >>> from tnlayers.backends import backend
        >>> u, rest, left_out = leading(backend("numpy").ops, np.diag([3.0, 2.0, 1.0]), 2)
        >>> u.shape, rest.shape, round(left_out, 12)
        ((3, 2), (2, 3), 1.0)
    """
    if count >= min(matrix.shape):
        u, rest = ops.qr(matrix)
        return u, rest, 0.0
    u, rest, left_out = _projected(ops, matrix, _vectors(ops, matrix, count))
    eps = float(np.finfo(str(matrix.dtype).removeprefix("torch.")).eps)
    if left_out <= eps**0.5 * (left_out + _square(ops, rest)):
        return _projected(ops, matrix, ops.svd(matrix)[0][:, :count])
    return u, rest, left_out


def _vectors(ops: Splitting, matrix: Array, count: int) -> Array:
    rows, columns = matrix.shape
    if rows <= columns:
        return ops.eigenvectors(ops.matmul(matrix, _adjoint(ops, matrix)))[:, rows - count :]
    vectors = ops.eigenvectors(ops.matmul(_adjoint(ops, matrix), matrix))
    return ops.qr(ops.matmul(matrix, vectors[:, columns - count :]))[0]


def _projected(ops: Primitives, matrix: Array, u: Array) -> tuple[Array, Array, float]:
    rest = ops.matmul(_adjoint(ops, u), matrix)
    return u, rest, _square(ops, matrix - ops.matmul(u, rest))


def _square(ops: Primitives, matrix: Array) -> float:
    return float(ops.sum((matrix.conj() * matrix).real, (0, 1)))


def _adjoint(ops: Primitives, matrix: Array) -> Array:
    return ops.permute(matrix, (1, 0)).conj()
