"""Initialisation: core entries such that the entries of the contracted weight have the variance asked for.

With independent cores whose entries are uncorrelated, of mean zero and variance `v_k`,

    E[W^2]  =  prod_k v_k  *  prod(sizes of the summed indices, each hyperedge once)  /  prod(sizes of shared indices)

for every network, loops included: in E[W^2] only equal index assignments survive. The mean is over all entries; the
last factor counts the structural zeros of indices that are input and output at once.

Each core is drawn evenly on a sphere (a Gaussian direction of fixed norm). That leaves E[W^2] exact, since the entries
of such a vector are uncorrelated and their mean square is fixed, and takes away the spread that products of Gaussian
norms have. All cores get the same norm, so that no intermediate of a long chain over- or underflows in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, prod, sqrt

import numpy as np

from tnlayers.errors import TNLayersError
from tnlayers.lower import Graph


def core_norms(graph: Graph, variance: float) -> dict[str, float]:
    """The Frobenius norm of each core that makes the mean of E[W^2] equal to `variance`.

    Args:
        graph: The network.
        variance: The target, above 0.

    Returns:
        Norm by core name; all are equal.

    Raises:
        TNLayersError: If the variance is not a positive finite number.
    """
    if not (variance > 0 and np.isfinite(variance)):
        raise TNLayersError(f"The variance of the weight's entries must be positive and finite, got {variance!r}.")
    # norm^2 = size * v, equal for all cores: solve prod(norm^2 / size) * summed / shared = variance, in logarithms
    # because the products of a dozen cores leave the range of floats.
    sizes = sum(log(prod(shape)) for shape in graph.shapes.values())
    summed = sum(log(graph.sizes[i]) for i in graph.summed)
    shared = sum(log(graph.sizes[i]) for i in graph.shared)
    norm = exp((log(variance) + sizes - summed + shared) / (2 * len(graph.cores)))
    return dict.fromkeys(graph.shapes, norm)


def weight_variance(graph: Graph, norms: dict[str, float]) -> float:
    """The exact mean of E[W^2] for cores drawn on spheres of these norms: the formula above, read forwards."""
    total = sum(log(norms[name] ** 2 / prod(shape)) for name, shape in graph.shapes.items())
    total += sum(log(graph.sizes[i]) for i in graph.summed)
    return exp(total - sum(log(graph.sizes[i]) for i in graph.shared))


def draw_cores(graph: Graph, variance: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Cores in float64, by name, such that the mean of E[W^2] is `variance`; the same for every backend.

    Args:
        graph: The network.
        variance: Mean of the squared entries of the weight, for instance `default_variance(in_features)`.
        rng: Where the randomness comes from.
    """
    cores = {}
    for name, norm in core_norms(graph, variance).items():
        direction = rng.standard_normal(graph.shapes[name])
        cores[name] = direction * (norm / sqrt(float(np.sum(direction**2))))
    return cores


def draw_layer(graphs: Sequence[Graph], variance: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The cores of all terms of a layer, by name: each term gets an equal share of the variance.

    The terms are independent and of mean zero, so their variances add up to the target.

    Args:
        graphs: One graph per term, core names unique.
        variance: Mean of the squared entries of the summed weight.
        rng: Where the randomness comes from.
    """
    return {name: core for graph in graphs for name, core in draw_cores(graph, variance / len(graphs), rng).items()}


def draw_bias(in_features: int, out_features: int, rng: np.random.Generator) -> np.ndarray:
    """A bias of shape (out_features,) as in `torch.nn.Linear`: uniform within 1/sqrt(in_features)."""
    bound = 1 / sqrt(in_features)
    return rng.uniform(-bound, bound, out_features)


def default_variance(in_features: int) -> float:
    """The variance of a fresh `torch.nn.Linear` weight: uniform within 1/sqrt(in_features) gives 1/(3 in_features)."""
    return 1 / (3 * in_features)
