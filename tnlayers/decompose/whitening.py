"""Whitening: a weight in coordinates in which the inputs are (nearly) uncorrelated, and back.

With C = E[x x^H], the second moment of the inputs, the mean squared error of the outputs is

    E ||(W - W') x||^2  =  ||(W - W') S||^2      S S^H = C

so a network close to W S in the ordinary norm has small output error. What is found for W S must be taken back by
S^-1, and still be that network: so S acts on each core's own input modes alone, S = S_1 x S_2 x ..., each S_g the root
of C's partial trace over the modes of all other cores. Where one core has all inputs (low rank), or C is such a
product, this is exact, and a truncated SVD of W S the optimum; else what is left of C is the metric M that alternating
least squares minimise the error in:

    ||(W - W') S M^(1/2)||      M = S^-1 C S^-1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tnlayers.declare.graph import Contraction, Graph
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.program.program import Array, Primitives

# Added to the diagonal of C, in shares of its mean: directions that the sample lacks are determined, and hardly weigh.
RIDGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """Coordinates for the inputs of a network.

    Attributes:
        graph: The network.
        groups: For each transformed core, its position and which of the input modes it has.
        roots: S_g for each group.
        inverses: Their inverses.
        metric: M; None where it is the identity.
    """

    graph: Graph
    groups: tuple[tuple[int, tuple[int, ...]], ...]
    roots: tuple[Array, ...]
    inverses: tuple[Array, ...]
    metric: Array | None

    def weight(self, ops: Primitives, weight: Array) -> Array:
        """W S, for W of shape (product of out modes, product of in modes)."""
        return _columns(ops, self.graph, self.groups, self.roots, weight)

    def forth(self, ops: Primitives, cores: Sequence[Array]) -> list[Array]:
        """The cores of W' S from those of W'."""
        return self._transformed(ops, cores, self.roots)

    def back(self, ops: Primitives, cores: Sequence[Array]) -> list[Array]:
        """The cores of W' from those of W' S."""
        return self._transformed(ops, cores, self.inverses)

    def _transformed(self, ops: Primitives, cores: Sequence[Array], factors: Sequence[Array]) -> list[Array]:
        changed = list(cores)
        for (core, modes), factor in zip(self.groups, factors, strict=True):
            own = self.graph.cores[core].indices
            axes = [own.index(self.graph.inputs[k]) for k in modes]
            changed[core] = _along(ops, changed[core], axes, factor)
        return changed


def whiten(ops: Splitting, graph: Graph, moment: Array) -> Whitening:
    """The coordinates for a network, from the second moment of its inputs.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: Any network. Input modes that stand on several cores, or on the output too, stay as they are.
        moment: C, of shape (product of in modes, the same), Hermitian and positive definite.
    """
    groups = _groups(graph)
    roots, inverses = [], []
    for _, modes in groups:
        root, inverse = root_of(ops, _partial_trace(ops, graph, moment, modes))
        roots.append(root)
        inverses.append(inverse)
    if len(groups) == 1 and len(groups[0][1]) == len(graph.inputs):
        metric = None
    else:
        half = _columns(ops, graph, groups, inverses, moment)  # C S^-1
        metric = _columns(ops, graph, groups, inverses, ops.permute(half, (1, 0)).conj())
    return Whitening(graph=graph, groups=groups, roots=tuple(roots), inverses=tuple(inverses), metric=metric)


def scaled(ops: Primitives, covariance: Array, in_features: int) -> Array:
    """A second moment scaled to a mean diagonal of 1.

    Raises:
        TNLayersError: If it is no finite Hermitian matrix of the inputs' size, or zero.
    """
    if tuple(covariance.shape) != (in_features, in_features):
        raise TNLayersError(
            f"covariance has shape {tuple(covariance.shape)}; it must be the second moment E[x x^H] of the "
            f"{in_features} inputs, of shape ({in_features}, {in_features})."
        )
    if not bool((abs(covariance) < float("inf")).all()):
        raise TNLayersError("covariance has entries that are NaN or infinite; look at the sample that it comes from.")
    largest = float(abs(covariance).max())
    asymmetric = float(abs(covariance - ops.permute(covariance, (1, 0)).conj()).max())
    mean = float(ops.sum(ops.diagonal(covariance, 0, 1).real, (0,))) / in_features
    if asymmetric > 1e-3 * largest or mean < largest / in_features**2 or mean <= 0:
        raise TNLayersError(
            f"covariance is no second moment: its largest entry is {largest:.4g}, the mean of its diagonal {mean:.4g}, "
            f"and it differs from its own adjoint by {asymmetric:.4g}. Compute it as x.T @ x.conj() / len(x)."
        )
    return covariance / mean


def root_of(ops: Splitting, moment: Array) -> tuple[Array, Array]:
    """The Hermitian root of a second moment, and its inverse, by eigenvectors: an SVD takes several times as long.

    Eigenvalues below rounding are taken as rounding.
    """
    vectors = ops.eigenvectors(moment)
    dagger = ops.permute(vectors, (1, 0)).conj()
    values = ops.sum((vectors.conj() * ops.matmul(moment, vectors)).real, (0,))
    least = float(np.finfo(str(values.dtype).removeprefix("torch.")).eps) * float(abs(values).max())
    sizes = (values**2 + least**2) ** 0.5
    return ops.matmul(vectors * sizes**0.5, dagger), ops.matmul(vectors * sizes**-0.5, dagger)


def _groups(graph: Graph) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The input modes that each core has for itself."""
    found: dict[int, list[int]] = {}
    for mode, index in enumerate(graph.inputs):
        holders = [k for k, core in enumerate(graph.cores) for i in core.indices if i == index]
        if len(holders) == 1 and index not in graph.shared:
            found.setdefault(holders[0], []).append(mode)
    return tuple((core, tuple(modes)) for core, modes in found.items())


def _partial_trace(ops: Primitives, graph: Graph, moment: Array, modes: Sequence[int]) -> Array:
    """The second moment over some input modes, the mean over all others."""
    sizes, n = graph.in_modes, len(graph.in_modes)
    primed = tuple(k + n if k in modes else k for k in range(n))
    contraction = Contraction(
        names=("moment",),
        operands=((*range(n), *primed),),
        output=(*modes, *(k + n for k in modes)),
        sizes=(*sizes, *sizes),
    )
    traced = plan_contraction(contraction, title="partial trace").program.run(
        ops, [ops.reshape(moment, (*sizes, *sizes))]
    )
    size = prod(sizes[k] for k in modes)
    return ops.reshape(traced, (size, size)) / (prod(sizes) / size)


def _columns(
    ops: Primitives,
    graph: Graph,
    groups: Sequence[tuple[int, tuple[int, ...]]],
    factors: Sequence[Array],
    matrix: Array,
) -> Array:
    """A matrix with input features as columns, times a factor on the modes of each group."""
    tensor = ops.reshape(matrix, (matrix.shape[0], *graph.in_modes))
    for (_, modes), factor in zip(groups, factors, strict=True):
        tensor = _along(ops, tensor, [k + 1 for k in modes], factor)
    return ops.reshape(tensor, tuple(matrix.shape))


def _along(ops: Primitives, tensor: Array, axes: Sequence[int], factor: Array) -> Array:
    """A tensor whose axes are multiplied, as one row, by a matrix."""
    others = [k for k in range(tensor.ndim) if k not in axes]
    order = (*others, *axes)
    moved = ops.permute(tensor, order)
    shape = tuple(moved.shape)
    rows = ops.matmul(ops.reshape(moved, (prod(shape[: len(others)]), factor.shape[0])), factor)
    return ops.permute(ops.reshape(rows, shape), tuple(order.index(k) for k in range(tensor.ndim)))
