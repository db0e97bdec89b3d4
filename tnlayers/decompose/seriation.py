"""Seriation: orders of features by their correlations, in which neighbours are alike."""

from __future__ import annotations

import numpy as np


def _alike(gram: np.ndarray) -> np.ndarray:
    """The size of the correlations of features, from their inner products."""
    sizes = np.sqrt(np.maximum(np.diag(gram), 1e-30))
    alike: np.ndarray = np.abs(gram) / (sizes[:, None] * sizes)
    return alike


def spectral_order(gram: np.ndarray) -> np.ndarray:
    """Features in the order of the Fiedler vector of their correlations (Fiedler 1973): neighbours alike on the whole.

    Args:
        gram: Inner products of the features, such as their second moment.

    Returns:
        Which feature comes at each place.

    Example:
        >>> alike = np.array([[1, 0.1, 0.9, 0.1], [0.1, 1, 0.1, 0.9], [0.9, 0.1, 1, 0.1], [0.1, 0.9, 0.1, 1]])
        >>> {*spectral_order(alike)[:2].tolist()} in ({0, 2}, {1, 3})
        True
    """
    alike = _alike(gram)
    _, vectors = np.linalg.eigh(np.diag(alike.sum(1)) - alike)
    return np.argsort(vectors[:, min(1, len(gram) - 1)], kind="stable")


def chained_order(gram: np.ndarray) -> np.ndarray:
    """Features each followed by the one most like it that is left: clusters stay together.

    Args:
        gram: Inner products of the features.

    Returns:
        Which feature comes at each place, the first of them first.

    Example:
        >>> alike = np.array([[1, 0.1, 0.9, 0.1], [0.1, 1, 0.1, 0.9], [0.9, 0.1, 1, 0.1], [0.1, 0.9, 0.1, 1]])
        >>> chained_order(alike).tolist()
        [0, 2, 1, 3]
    """
    alike = _alike(gram)
    order = [0]
    left = np.ones(len(gram), bool)
    left[0] = False
    while left.any():
        order.append(int(np.argmax(np.where(left, alike[order[-1]], -1.0))))
        left[order[-1]] = False
    return np.array(order)
