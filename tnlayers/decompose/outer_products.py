"""Primitives whose matrix products over one value are plain products, entry by entry.

The normal equations of hyperedges are Hadamard products: tens of thousands of products of 1 x 1 matrices, on which
numpy and torch spend ten times as long as on one product of arrays.
"""

from __future__ import annotations

from typing import Any, cast

from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.program.program import Array


def with_outer_products(ops: Splitting) -> Splitting:
    """The same primitives, of which `matmul` sees where nothing is summed.

    Example:
        >>> import numpy as np
        >>> from tnlayers.backends import backend
        >>> ops = with_outer_products(backend("numpy").ops)
        >>> ops.matmul(np.ones((5, 2, 1)), np.ones((1, 3))).shape, ops.eye(2, np.ones(1)).shape
        ((5, 2, 3), (2, 2))
    """
    return cast(Splitting, _Outer(ops))


class _Outer:
    def __init__(self, ops: Splitting) -> None:
        self._ops = ops

    def matmul(self, left: Array, right: Array) -> Array:
        return left * right if left.shape[-1] == 1 else self._ops.matmul(left, right)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)
