"""Dense weights with a structure that a search should find."""

import numpy as np


def shuffled_clusters(n=48, clusters=6, noise=0.2):
    """Rows alike in groups, and the groups' rows scattered: of low error only in another order."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((clusters, n))[np.repeat(np.arange(clusters), n // clusters)]
    return (rows + noise * rng.standard_normal((n, n)))[rng.permutation(n)]
