"""A weight of zero as cores that can be trained.

W is a product of cores: where two of them are zero, every core's gradient is zero too, and training never leaves it.
So of the cores of a zero weight exactly one is zero, the last, and the others are drawn as for a fresh layer: W is
exactly zero, the last core has a gradient from the first step on, and all others from the second, as in LoRA (Hu et al.
2021, arXiv 2106.09685).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tnlayers.cores.initialise import default_variance, draw_layer
from tnlayers.declare.graph import Graph
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.program.program import Array


def trainable(ops: Splitting, graphs: Sequence[Graph], cores: Sequence[Array], in_features: int) -> list[Array]:
    """The cores of a layer, W unchanged; those of a network that is zero and could not be trained are drawn anew.

    Args:
        ops: The primitives of the arrays' backend, with its SVD.
        graphs: The layer's networks.
        cores: Their cores, in order of declaration.
        in_features: What one output sums over.

    Example:
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> graph = tnl.spec("mpo(in=2x2, out=2x2, bond=2)").graph
        >>> dead = [np.zeros(shape) for shape in graph.shapes.values()]
        >>> [bool(core.any()) for core in trainable(backend("numpy").ops, [graph], dead, 4)]
        [True, False]
    """
    found: list[Array] = []
    for graph in graphs:
        own = list(cores[len(found) : len(found) + len(graph.cores)])
        if sum(not bool((core != 0).any()) for core in own) > 1:
            dtype = str(own[0].dtype).removeprefix("torch.")
            drawn = draw_layer([graph], default_variance(in_features), np.random.default_rng(0), dtype)
            own = [ops.like(new, old) for new, old in zip(drawn.values(), own, strict=True)]
            own[-1] = 0 * own[-1]
        found += own
    return found
