"""The reference: a declared layer as one einsum in double precision, and how far from it an array may lie.

Nothing here knows plans, layouts or programs: only the cores, indices and sizes of a graph, and `numpy.einsum`.
Rounding in a sum of n products walks at random, so an error is counted in units of

    tolerance = 6 * eps(dtype) * sqrt(n) * scale

where `scale` is the root of the largest sum of squared terms: the size that an entry has by chance, whatever cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tnlayers.declare.graph import Graph
from tnlayers.declare.spec import Spec

Array: TypeAlias = npt.NDArray[Any]
Operand: TypeAlias = tuple[Array, Sequence[int]]

FACTOR = 6.0  # leaves room for the largest of many entries
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
EPS |= {"complex64": EPS["float32"], "complex128": EPS["float64"]}


@dataclass(frozen=True)
class Expected:
    """An array in double precision.

    Attributes:
        value: Its entries.
        scale: The root of the largest sum of squared terms of an entry.
        terms: How many products are summed on the way to an entry.
    """

    value: Array
    scale: float
    terms: int

    def units(self, found: Array, dtype: str) -> float:
        """The largest difference in units of the tolerance; infinite where shapes differ or an entry is not finite.

        Example:
            >>> exact = Expected(np.ones(3), scale=1.0, terms=4)
            >>> exact.units(np.full(3, 1 + 12 * 2.0**-23), "float32"), exact.units(np.ones(2), "float32")
            (1.0, inf)
        """
        if found.shape != self.value.shape or not np.isfinite(found).all():
            return float("inf")
        worst = float(np.max(np.abs(found - self.value), initial=0.0))
        return worst / (FACTOR * EPS[dtype] * sqrt(self.terms) * self.scale) if worst else 0.0


def expected_output(spec: Spec, graphs: Sequence[Graph], cores: Mapping[str, Array], x: Array) -> Expected:
    """What a layer without bias makes of vectors (batch, in_features).

    Args:
        spec: The declaration, for the padding.
        graphs: Its networks.
        cores: The cores by name, in double precision.
        x: The vectors, likewise.
    """
    return _added([_output(part, graph, cores, x) for part, graph in zip(spec.parts, graphs, strict=True)])


def expected_gradients(
    spec: Spec, graphs: Sequence[Graph], cores: Mapping[str, Array], x: Array, grad_y: Array
) -> dict[str, Expected]:
    """The gradients of sum(y * grad_y) by "x", by each core's name and by "bias"; nothing is conjugated.

    Args:
        spec: The declaration, for the padding.
        graphs: Its networks.
        cores: The cores by name, in double precision.
        x: Vectors (batch, in_features).
        grad_y: Weights of the outputs (batch, out_features).
    """
    scale = sqrt(float(np.max(np.sum(np.abs(grad_y) ** 2, axis=0), initial=0.0)))
    by_x, found = [], {"bias": Expected(grad_y.sum(axis=0), scale, len(grad_y) + 1)}
    for part, graph in zip(spec.parts, graphs, strict=True):
        own = _gradients(part, graph, cores, x, grad_y)
        by_x.append(own.pop("x"))
        found |= own
    return {"x": _added(by_x), **found}


def _output(part: Spec, graph: Graph, cores: Mapping[str, Array], x: Array) -> Expected:
    batch = len(graph.sizes)
    operands = [(_cut_modes(x, part.pad_in, graph.in_modes), (batch, *graph.inputs)), *_cores(graph, cores)]
    y = _einsum(operands, (batch, *graph.outputs), _terms(graph, 1))
    return _reshaped(y, (len(x), prod(graph.out_modes)), part.out_features)


def _gradients(part: Spec, graph: Graph, cores: Mapping[str, Array], x: Array, grad_y: Array) -> dict[str, Expected]:
    """A layer is linear in each operand: its gradient is the einsum of all others."""
    batch = len(graph.sizes)
    weights = (_cut_modes(grad_y, part.pad_out, graph.out_modes), (batch, *graph.outputs))
    operands = [(_cut_modes(x, part.pad_in, graph.in_modes), (batch, *graph.inputs)), *_cores(graph, cores)]
    found = {}
    for k, name in enumerate(["x", *(core.name for core in graph.cores)]):
        array, indices = operands[k]
        others = [weights, *operands[:k], *operands[k + 1 :]]
        found[name] = _derivative(others, indices, array.shape, batch + 1, _terms(graph, len(x)))
    found["x"] = _reshaped(found["x"], (len(x), prod(graph.in_modes)), part.in_features)
    return found


def _derivative(others: list[Operand], indices: Sequence[int], shape: Sequence[int], free: int, terms: int) -> Expected:
    """An einsum of the others; an index that no other has gets ones, one that is there twice an identity matrix."""
    output: list[int] = []
    present = {i for _, listed in others for i in listed}
    for i, size in zip(indices, shape, strict=True):
        if i in output:
            others = [*others, (np.eye(size), (i, free))]
            output.append(free)
            free += 1
            continue
        if i not in present:
            others = [*others, (np.ones(size), (i,))]
        output.append(i)
    return _einsum(others, output, terms)


def _einsum(operands: Sequence[Operand], output: Sequence[int], terms: int) -> Expected:
    # numpy's own greedy path, without its default limit on memory, which would make it one slow loop.
    flat = [part for array, indices in operands for part in (array, list(indices))]
    squares = [part if isinstance(part, list) else np.abs(part) ** 2 for part in flat]
    value, largest = (
        np.asarray(np.einsum(*parts, list(output), optimize=("greedy", 2**60))) for parts in (flat, squares)
    )
    return Expected(value, sqrt(float(np.max(largest, initial=0.0))), terms)


def _terms(graph: Graph, batch: int) -> int:
    """What the longest ways to an entry sum: through the cores one by one, or over all features at once."""
    ways = sum(prod(graph.shape(core)) for core in graph.cores)
    return ways + prod(graph.in_modes) + prod(graph.out_modes) + batch


def _cores(graph: Graph, cores: Mapping[str, Array]) -> list[Operand]:
    return [(cores[core.name], core.indices) for core in graph.cores]


def _cut_modes(vectors: Array, pad: int, modes: tuple[int, ...]) -> Array:
    return np.pad(vectors, [(0, 0), (0, pad)]).reshape(len(vectors), *modes)


def _reshaped(found: Expected, shape: tuple[int, int], features: int) -> Expected:
    return Expected(found.value.reshape(shape)[:, :features], found.scale, found.terms)


def _added(found: Sequence[Expected]) -> Expected:
    """A sum of independent values: scales add as squares do."""
    return reduce(lambda a, b: Expected(a.value + b.value, sqrt(a.scale**2 + b.scale**2), max(a.terms, b.terms)), found)
