"""Ranks without a number to choose: how many singular values of a noisy matrix stand out of its noise.

Empirical variational Bayesian matrix factorisation of a fully observed matrix has its global solution in closed form
(Nakajima, Sugiyama, Babacan, Tomioka 2013, "Global analytic solution of fully-observed variational Bayesian matrix
factorization", JMLR 14:1-37). With singular values g_h of an L x M matrix, L <= M, and alpha = L / M, the values kept
are those above a threshold that the noise's variance alone decides (Nakajima, Tomioka, Sugiyama, Babacan 2015,
"Condition for perfect dimensionality recovery by variational Bayesian PCA", JMLR 16:3757-3811, Theorem 2):

    g_h^2  >  M sigma^2 x,      x = (1 + t) (1 + alpha / t),      t = 2.5129 sqrt(alpha)

and sigma^2 is where the free energy, a function of it alone (there Theorem 3), is least:

    sum_h  y - log y                                                       y = g_h^2 / (M sigma^2), below x
    sum_h  y - log y + log(tau + 1) + alpha log(tau / alpha + 1) - tau     above, where
                                                                           2 tau = z + root(z^2 - 4 alpha)
                                                                           z     = y - 1 - alpha
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt

import numpy as np

_GRID = 2000  # noise variances that are compared: the free energy has kinks, so no descent


def kept_values(squares: Sequence[float], rows: int, columns: int) -> int:
    """How many singular values of a matrix to keep.

    Args:
        squares: Its squared singular values, descending.
        rows: Its rows.
        columns: Its columns.

    Returns:
        The rank, at least 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> planted = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 80)) + rng.standard_normal((60, 80)) / 2
        >>> kept_values(np.linalg.svd(planted, compute_uv=False) ** 2, 60, 80)
        3
    """
    short, long = sorted((rows, columns))
    values = np.asarray(squares, np.float64)[:short]
    values = np.concatenate([values, np.zeros(short - len(values))])
    if values[0] <= 0:
        return 1
    alpha = short / long
    t = 2.5129 * sqrt(alpha)
    edge = (1 + t) * (1 + alpha / t)
    noise = _noise(values, long, alpha, edge)
    return max(1, int((values > long * noise * edge).sum()))


def _noise(values: np.ndarray, long: int, alpha: float, edge: float) -> float:
    """The variance of the noise with the least free energy."""
    largest = float(values.sum()) / (len(values) * long)
    below = min(ceil(len(values) / (1 + alpha)) - 1, len(values) - 1)
    least = max(float(values[below]) / (long * edge), float(values[below:].mean()) / long)
    least = max(min(least, largest), largest * 1e-12)  # of exactly low rank: hardly any noise
    grid = np.geomspace(least, largest, _GRID)
    return float(min(grid, key=lambda noise: _free_energy(values, long, float(noise), alpha, edge)))


def _free_energy(values: np.ndarray, long: int, noise: float, alpha: float, edge: float) -> float:
    """Up to a constant: log y is split, so that values of zero count by the noise alone."""
    y = values / (long * noise)
    total = float(y.sum() - np.log(values[values > 0]).sum()) + len(values) * log(long * noise)
    signal = y[y > edge]
    tau = 0.5 * (signal - 1 - alpha + np.sqrt(np.maximum((signal - 1 - alpha) ** 2 - 4 * alpha, 0.0)))
    return total + float((np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau).sum())
