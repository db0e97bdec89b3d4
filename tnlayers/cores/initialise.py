"""Initialisation: core entries such that the entries of the contracted weight have the variance asked for.

With independent cores whose entries are uncorrelated, of mean zero and variance `v_k`,

    E[W^2]  =  prod_k v_k  *  prod(sizes of the summed indices, each hyperedge once)  /  prod(sizes of shared indices)

for every network, loops included: in E[W^2] only equal index assignments survive. The mean is over all entries; the
last factor counts the structural zeros of indices that are input and output at once.

Each core is drawn evenly on a sphere (a Gaussian direction of fixed norm). That leaves E[W^2] exact, since the entries
of such a vector are uncorrelated and their mean square is fixed, and takes away the spread that products of Gaussian
norms have. All cores get the same norm, so that no intermediate of a long chain over- or underflows in half precision.

Complex cores are drawn on the sphere of the same norm in twice as many real dimensions: E[w w*] of two entries is as
for real ones, so the formula holds for E[|W|^2].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, prod, sqrt

import numpy as np

from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError


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


def layer_norms(graphs: Sequence[Graph], variance: float) -> dict[str, float]:
    """The norm of each core of a layer: every term of a sum gets an equal share of the variance.

    The terms are independent and of mean zero, so their variances add up to the target.

    Args:
        graphs: One graph per term, core names unique.
        variance: Mean of the squared absolute entries of the summed weight.
    """
    share = variance / len(graphs)
    return {name: norm for graph in graphs for name, norm in core_norms(graph, share).items()}


def draw_layer(
    graphs: Sequence[Graph], variance: float, rng: np.random.Generator, dtype: str = "float64"
) -> dict[str, np.ndarray]:
    """The cores of a layer by name, such that the mean of E[|W|^2] is `variance`; the same for every backend.

    Args:
        graphs: One graph per term, core names unique.
        variance: Mean of the squared absolute entries of the weight, for instance `default_variance(in_features)`.
        rng: Where the randomness comes from.
        dtype: The dtype that the layer will have: the cores are complex128 if it is complex, else float64.
    """
    shapes = {name: shape for graph in graphs for name, shape in graph.shapes.items()}
    cores = {}
    for name, norm in layer_norms(graphs, variance).items():
        direction = _draw(rng.standard_normal, shapes[name], dtype)
        cores[name] = direction * (norm / sqrt(float(np.sum(np.abs(direction) ** 2))))
    return cores


def draw_bias(in_features: int, out_features: int, rng: np.random.Generator, dtype: str = "float64") -> np.ndarray:
    """A bias of shape (out_features,) as in `torch.nn.Linear`: uniform within `bias_bound`, each part if complex."""
    bound = bias_bound(in_features, dtype)
    return _draw(lambda shape: rng.uniform(-bound, bound, shape), (out_features,), dtype)


def bias_bound(in_features: int, dtype: str = "float64") -> float:
    """1/sqrt(in_features); per part of a complex dtype 1/sqrt(2 in_features), which has the same mean square."""
    return 1 / sqrt(in_features * (2 if is_complex(dtype) else 1))


def is_complex(dtype: str) -> bool:
    """Whether a dtype of that name holds complex numbers."""
    return dtype.startswith("complex")


def _draw(draw: Callable[[tuple[int, ...]], np.ndarray], shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Entries as `draw` gives them; of a complex dtype first all real, then all imaginary parts."""
    return draw(shape) + 1j * draw(shape) if is_complex(dtype) else draw(shape)


def default_variance(in_features: int) -> float:
    """The variance of a fresh `torch.nn.Linear` weight: uniform within 1/sqrt(in_features) gives 1/(3 in_features)."""
    return 1 / (3 * in_features)
