"""All cores at once: damped Gauss-Newton steps, for fits that are to be exact.

Alternating least squares approach an exact fit slowly and stop in swamps on the way. The step v of all cores together,

    (J^H J + mu) v  =  J^H (W - W')        J the derivative of W' by the cores, mu the damping

converges quadratically where the weight is a network of this size, and stays where it is not, so that either answer
comes early (Levenberg 1944; Marquardt 1963, doi 10.1137/0111030; for CP: Sorber, Van Barel and De Lathauwer 2013, doi
10.1137/120868323). mu also takes care of the freedom of gauge, along which J^H J is zero. Where the weight has few
entries, and not many more than the cores, v = J^H (J J^H + mu)^-1 (W - W') is solved for directly; else by conjugate
gradients with the blocks of single cores as preconditioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tnlayers.declare.graph import Graph
from tnlayers.decompose.outer_products import with_outer_products
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.tangent import Tangent
from tnlayers.program.program import Array

_STEPS = 80
_INNER_STEPS = 40  # of conjugate gradients
_PATIENCE = 8  # a fit is given up when so many steps leave more than a share of the error:
_FAR, _GAIN, _NEAR_GAIN = 0.1, 0.9, 0.5  # this one above an error, and this one below it
_DIRECT = 400  # entries of a weight whose J J^H is formed
_LARGEST_BLOCK = 400  # bonds of a core whose block is inverted; of larger ones only the mean diagonal is taken
_DAMPING = 0.1  # at the start, in shares of the mean diagonal of J^H J
_WEAKEST = 1e-14  # damping, in the same


@dataclass(frozen=True, slots=True)
class _Point:
    """Cores, the derivative there, what they leave of the weight, and its square."""

    cores: list[Array]
    tangent: Tangent
    left: Array
    square: float


def exactly(
    ops: Splitting, graph: Graph, weight: Array, cores: Sequence[Array], *, goal: float
) -> tuple[list[Array], float]:
    """Improve cores until they are a weight to within a goal, or for as long as there is hope of it.

    Args:
        ops: The primitives of the weight's backend.
        graph: A network for which `tangent.affordable`.
        weight: The weight of shape (product of out modes, product of in modes), not zero.
        cores: Where to start from.
        goal: The relative error that is small enough.

    Returns:
        The cores, and ||W - W'|| / ||W||.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> from tnlayers.backends import backend
        >>> rng = np.random.default_rng(0)
        >>> graph = tnl.spec("ring(in=2x2x2, out=2x2x2, bond=4)").graph
        >>> start = [rng.standard_normal(shape) for shape in graph.shapes.values()]
        >>> exactly(backend("numpy").ops, graph, rng.standard_normal((8, 8)), start, goal=1e-13)[1] < 1e-13
        True
    """
    ops = with_outer_products(ops)
    tensor = ops.reshape(weight, (*graph.out_modes, *graph.in_modes))
    total = _square(ops, tensor)
    now = _at(ops, graph, tensor, _balanced(ops, cores))
    unit = sum(_square(ops, around) / around.shape[2] for around in now.tangent.around) / len(cores)
    damping = _DAMPING * unit
    direct = prod(weight.shape) <= min(_DIRECT, 2 * graph.parameters)
    errors = [(now.square / total) ** 0.5]
    for _ in range(_STEPS):
        if errors[-1] <= goal or _hopeless(errors):
            break
        step = _direct(now, damping) if direct else _step(now, damping, min(0.1, errors[-1]))
        moved = [
            core + now.tangent.core(k, change) for k, (core, change) in enumerate(zip(now.cores, step, strict=True))
        ]
        tried = _at(ops, graph, tensor, moved)
        expected = now.square - _square(ops, now.left - now.tangent.change(step))
        if tried.square < now.square:
            share = (now.square - tried.square) / expected if expected > 0 else 1.0
            damping = max(damping / 5, _WEAKEST * unit) if share > 0.75 else damping * 2 if share < 0.25 else damping
            now = tried
        else:
            damping *= 4
        errors.append((now.square / total) ** 0.5)
    return now.cores, errors[-1]


def _hopeless(errors: Sequence[float]) -> bool:
    """Whether the last steps were those of a fit that stays where it is."""
    enough = _GAIN if errors[-1] > _FAR else _NEAR_GAIN
    return len(errors) > _PATIENCE and errors[-1] > enough * errors[-1 - _PATIENCE]


def _at(ops: Splitting, graph: Graph, tensor: Array, cores: list[Array]) -> _Point:
    tangent = Tangent.at(ops, graph, cores)
    left = tensor - tangent.weight(0, tangent.matrix(0, cores[0]))
    return _Point(cores, tangent, left, _square(ops, left))


def _step(now: _Point, damping: float, accuracy: float) -> list[Array]:
    """The solution of the damped equations to an accuracy, by preconditioned conjugate gradients."""
    tangent, ops = now.tangent, now.tangent.ops
    inverses = [_inverse(ops, around, damping) for around in tangent.around]

    def preconditioned(parts: Sequence[Array]) -> list[Array]:
        pairs = zip(inverses, parts, strict=True)
        return [inverse * part if isinstance(inverse, float) else ops.matmul(inverse, part) for inverse, part in pairs]

    rest = tangent.pulled(now.left)
    found = [0 * part for part in rest]
    direction = near = preconditioned(rest)
    first = left = _inner(ops, rest, near)
    for _ in range(_INNER_STEPS):
        if left <= accuracy**2 * first:
            break
        bent = [a + damping * b for a, b in zip(tangent.pulled(tangent.change(direction)), direction, strict=True)]
        length = left / _inner(ops, direction, bent)
        found = [a + length * b for a, b in zip(found, direction, strict=True)]
        rest = [a - length * b for a, b in zip(rest, bent, strict=True)]
        near = preconditioned(rest)
        before, left = left, _inner(ops, rest, near)
        direction = [a + (left / before) * b for a, b in zip(near, direction, strict=True)]
    return found


def _direct(now: _Point, damping: float) -> list[Array]:
    """The solution of the damped equations, by J J^H."""
    tangent, ops = now.tangent, now.tangent.ops
    entries = prod(now.left.shape)
    damped = tangent.square() + damping * ops.eye(entries, now.left)
    solved = ops.solve(ops.reshape(damped, (1, entries, entries)), ops.reshape(now.left, (1, entries, 1)))
    return tangent.pulled(ops.reshape(solved, tuple(now.left.shape)))


def _inverse(ops: Splitting, around: Array, damping: float) -> Array | float:
    """Of the block of one core; a number where it is too large."""
    count, _, coupled = around.shape
    if coupled > _LARGEST_BLOCK:
        return 1 / (_square(ops, around) / (count * coupled) + damping)
    identity = ops.eye(coupled, around)
    block = ops.matmul(ops.permute(around, (0, 2, 1)).conj(), around) + damping * identity
    return ops.solve(block, 0 * block + identity)


def _balanced(ops: Splitting, cores: Sequence[Array]) -> list[Array]:
    """Cores of equal norms, so that one damping serves all."""
    norms = [_square(ops, core) ** 0.5 for core in cores]
    if 0.0 in norms:
        return list(cores)
    mean = 1.0
    for norm in norms:
        mean *= norm ** (1 / len(norms))
    return [core * (mean / norm) for core, norm in zip(cores, norms, strict=True)]


def _inner(ops: Splitting, left: Sequence[Array], right: Sequence[Array]) -> float:
    return sum(float(ops.sum((a.conj() * b).real, (0, 1, 2))) for a, b in zip(left, right, strict=True))


def _square(ops: Splitting, array: Array) -> float:
    return float(ops.sum((array.conj() * array).real, tuple(range(array.ndim))))
