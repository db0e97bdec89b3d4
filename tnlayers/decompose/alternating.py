"""Alternating least squares: the cores of any network fitted to a weight, one core at a time.

With all other cores fixed, W' is linear in one core, and the best core solves the normal equations N core = r:

    N = <others, others>, a matrix over the bonds of that core       r = <others, W>, shaped like the core

Where the error is measured in a metric M of the inputs, ||(W - W') M^(1/2)||, M is between the two copies in N, and
r is taken against W M. Both are contractions of the network with itself or with the weight, planned like any other; no
matrix of the size of the weight is inverted. The error never rises. On CP this is the classic ALS (Carroll and Chang
1970), on Tucker it is HOOI (De Lathauwer et al. 2000, doi 10.1137/S0895479898346995), on rings TR-ALS (Zhao et al.
2016, arXiv 1606.05535).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np

from tnlayers.cores.linear_map import rebuild
from tnlayers.declare.graph import Contraction, Graph, repeated
from tnlayers.decompose.outer_products import with_outer_products
from tnlayers.decompose.roles import roles, size
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.errors import TNLayersError
from tnlayers.planning.choosing import plan_contraction
from tnlayers.program.program import Array, Program

# A core with more bond values than this is improved by conjugate gradients: N would be larger than what it is good for.
_LARGEST_NORMAL = 400
_GRADIENT_STEPS = 12
# A fit that comes as near as this to what it is to reach is polished: corrections by what is left of the weight lose
# no digits to the normal equations, whose condition is the square of that of the cores.
_NEARLY = 1e-3
_TRIED = 6  # rounds before a fit may be given up
_HOPELESS = 10  # times as many rounds as there are
_AHEAD, _GROWTH, _FURTHEST = 1.0, 2.0, 100.0  # steps beyond a round, in its own length
_POLISHES = 12  # rounds
_POLISHING_STEPS = 100  # of conjugate gradients
_WEAK = 10  # roundings of N that a core keeps to where it was by, for directions that N does not determine


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is fitted: a weight in a metric.

    Attributes:
        ops: The primitives of the weight's backend.
        graph: The network.
        weight: The weight, (product of out modes, product of in modes).
        metric: M, (product of in modes, the same); None for the identity.
    """

    ops: Splitting
    graph: Graph
    weight: Array
    metric: Array | None

    def weighed(self, matrix: Array) -> Array:
        """A weight times M."""
        return matrix if self.metric is None else self.ops.matmul(matrix, self.metric)

    def square(self, matrix: Array) -> float:
        """The squared norm of a weight in the metric."""
        return _inner(self.ops, matrix, self.weighed(matrix))

    def tensor(self, matrix: Array) -> Array:
        """A weight with one axis per mode."""
        return self.ops.reshape(matrix, (*self.graph.out_modes, *self.graph.in_modes))


def fit(
    ops: Splitting,
    graph: Graph,
    weight: Array,
    cores: Sequence[Array],
    *,
    sweeps: int,
    tolerance: float = 1e-5,
    metric: Array | None = None,
    goal: float = 0.0,
    patient: bool = True,
) -> tuple[list[Array], float]:
    """Improve the cores of any network until they fit a weight no better.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        graph: Any network in which no core has a leg summed on its own or joined to itself.
        weight: The weight of shape (product of out modes, product of in modes).
        cores: Where to start from, in order of declaration.
        sweeps: At most so many rounds over all cores.
        tolerance: Stop when a round lowers the relative error by less than this share of it.
        metric: M, positive and Hermitian, of shape (product of in modes, the same); None for the ordinary norm.
        goal: A relative error that is small enough: a fit that comes near it is polished until it is there; 0 for none.
        patient: Whether a fit continues to its last round although it would need many times as many to reach the goal.

    Returns:
        The cores, and ||W - W'|| / ||W|| in the metric (0 where both are zero).

    Raises:
        TNLayersError: If a core has a leg that no other core has and that is no mode.
    """
    _check(graph)
    problem = _Problem(with_outer_products(ops), graph, weight, metric)
    right = problem.tensor(problem.weighed(weight))
    total = problem.square(weight)
    found = list(cores)
    error = _relative_error(problem, found, total)
    ahead = _AHEAD
    for done in range(1, sweeps + 1):
        before, last = error, list(found)
        for k in range(len(found)):
            found[k] = _best_core(problem, right, found, k)
        error = _relative_error(problem, found, total)
        if error > before:  # rounding alone can raise it
            found, error = last, before
            break
        if done > 1:
            further = [core + ahead * (core - old) for core, old in zip(found, last, strict=True)]
            reached = _relative_error(problem, further, total)
            ahead = min(_GROWTH * ahead, _FURTHEST) if reached < error else max(ahead / _GROWTH, _AHEAD)
            found, error = (further, reached) if reached < error else (found, error)
        if (
            error <= goal
            or before - error < tolerance * before
            or (not patient and _far(error, before, goal, done, sweeps))
        ):
            break
    return _polished(problem, found, error, total, goal) if 0 < goal < error < _NEARLY else (found, error)


def _far(error: float, before: float, goal: float, done: int, sweeps: int) -> bool:
    """Whether a fit that must reach a goal improves at a rate that would take many times the rounds it has."""
    if not goal or done < _TRIED or error < _NEARLY:
        return False
    return log(error / goal) > _HOPELESS * sweeps * log(before / error)


def _polished(
    problem: _Problem, cores: Sequence[Array], error: float, total: float, goal: float
) -> tuple[list[Array], float]:
    """The cores corrected one by one, each for what the others leave of the weight, until that is small enough."""
    found = list(cores)
    for _ in range(_POLISHES):
        tried = list(found)
        for k in range(len(tried)):
            left = problem.tensor(problem.weighed(problem.weight - rebuild(problem.ops, problem.graph, tried)))
            tried[k] = tried[k] + _best_core(problem, left, tried, k, correct=True)
        reached = _relative_error(problem, tried, total)
        if reached >= error:
            break
        found, error = tried, reached
        if error <= goal:
            break
    return found, error


def _check(graph: Graph) -> None:
    modes = {*graph.inputs, *graph.outputs}
    for core in graph.cores:
        alone = [i for i in core.indices if i not in modes and graph.legs(i) == 1]
        if alone or repeated(core.indices):
            raise TNLayersError(
                f"Core {core.name!r} has a leg that is joined to itself or to nothing, so it cannot be fitted by least "
                "squares. Declare the network without it: it adds nothing to what the network can express."
            )


def _best_core(problem: _Problem, right: Array, cores: Sequence[Array], k: int, *, correct: bool = False) -> Array:
    """The core that minimises the error with all others fixed; or the best correction of it, by what is left."""
    ops, graph = problem.ops, problem.graph
    mixed = {*graph.inputs} if problem.metric is not None else set()
    own = roles(graph, k, mixed)
    order = (*own.tied, *own.coupled, *own.free)
    tied, coupled, free = (size(graph, part) for part in (own.tied, own.coupled, own.free))
    if coupled > _LARGEST_NORMAL or mixed & {*graph.shared}:
        return _conjugate_gradients(problem, right, cores, k, correct=correct)
    normal = ops.reshape(_normal(problem, cores, k, own.tied, own.coupled), (tied, coupled, coupled))
    against = ops.reshape(_against(ops, graph, right, cores, k, order), (tied, coupled, free))
    indices = graph.cores[k].indices
    near = None if correct else ops.permute(cores[k], tuple(indices.index(i) for i in order))
    near = None if near is None else ops.reshape(near, (tied, coupled, free))
    solved = ops.reshape(_solve(ops, normal, against, near), tuple(graph.sizes[i] for i in order))
    return ops.permute(solved, tuple(order.index(i) for i in indices))


def _conjugate_gradients(
    problem: _Problem, right: Array, cores: Sequence[Array], k: int, *, correct: bool = False
) -> Array:
    """A better core by some steps of conjugate gradients on N core = r, from where it is; N is never formed."""
    ops, graph = problem.ops, problem.graph
    own = graph.cores[k].indices

    def normal_times(core: Array) -> Array:
        rebuilt = rebuild(ops, graph, [*cores[:k], core, *cores[k + 1 :]])
        return _against(ops, graph, problem.tensor(problem.weighed(rebuilt)), cores, k, own)

    core = cores[k]
    rest = _against(ops, graph, right, cores, k, own)
    core, rest = (0 * core, rest) if correct else (core, rest - normal_times(core))
    direction, left = rest, _inner(ops, rest, rest)
    enough = left * _NEARLY**4 if correct else 0.0
    for _ in range(_POLISHING_STEPS if correct else _GRADIENT_STEPS):
        if left <= enough:
            break
        bent = normal_times(direction)
        curvature = _inner(ops, direction, bent)
        if curvature <= 0:
            break
        core, rest = core + direction * (left / curvature), rest - bent * (left / curvature)
        before, left = left, _inner(ops, rest, rest)
        direction = rest + direction * (left / before)
    return core


def _normal(
    problem: _Problem, cores: Sequence[Array], k: int, tied: tuple[int, ...], coupled: tuple[int, ...]
) -> Array:
    """N over (tied, coupled indices of the conjugated copy, coupled indices)."""
    ops, graph, metric = problem.ops, problem.graph, problem.metric
    others = [core for j, core in enumerate(cores) if j != k]
    if not others and metric is None:
        return ops.eye(1, cores[0])
    arrays = [*(core.conj() for core in others), *others]
    if metric is not None:
        arrays.append(ops.reshape(metric, (*graph.in_modes, *graph.in_modes)))
    return _normal_program(graph, k, tied, coupled, metric is not None).run(ops, arrays)


@lru_cache(maxsize=512)  # looked up at every core of every round
def _normal_program(graph: Graph, k: int, tied: tuple[int, ...], coupled: tuple[int, ...], weighed: bool) -> Program:
    shift = len(graph.sizes)
    same = {*graph.outputs} if weighed else {*graph.inputs, *graph.outputs}
    others = [core for j, core in enumerate(graph.cores) if j != k]
    primed = [tuple(i if i in same else i + shift for i in core.indices) for core in others]
    names = [*(core.name + "'" for core in others), *(core.name for core in others)]
    operands = [*primed, *(core.indices for core in others)]
    if weighed:
        names.append("metric")
        operands.append((*graph.inputs, *(i + shift for i in graph.inputs)))
    contraction = Contraction(
        names=tuple(names),
        operands=tuple(operands),
        output=(*tied, *(i + shift for i in coupled), *coupled),
        sizes=(*graph.sizes, *graph.sizes),
    )
    return plan_contraction(contraction, title="normal equations").program


def _against(
    ops: Splitting, graph: Graph, tensor: Array, cores: Sequence[Array], k: int, output: tuple[int, ...]
) -> Array:
    """<others, W>: the weight contracted with all conjugated cores but one."""
    others = [core.conj() for j, core in enumerate(cores) if j != k]
    return _against_program(graph, k, output).run(ops, [tensor, *others])


@lru_cache(maxsize=512)
def _against_program(graph: Graph, k: int, output: tuple[int, ...]) -> Program:
    others = [core for j, core in enumerate(graph.cores) if j != k]
    contraction = Contraction(
        names=("weight", *(core.name + "'" for core in others)),
        operands=((*graph.outputs, *graph.inputs), *(core.indices for core in others)),
        output=output,
        sizes=graph.sizes,
    )
    return plan_contraction(contraction, title="weight against the other cores").program


def _solve(ops: Splitting, normal: Array, right: Array, near: Array | None) -> Array:
    """A stack of normal equations (n, b, b), (n, b, m), solved nearest to what is known where they leave it open."""
    unit = float(ops.sum(ops.diagonal(normal, 1, 2).real, (0, 1))) / normal.shape[0]
    eps = float(np.finfo(str(normal.dtype).removeprefix("torch.")).eps)
    weak = max(_WEAK * eps * unit, float(np.finfo("float32").tiny))
    damped = normal + weak * ops.eye(normal.shape[1], normal)
    return ops.solve(damped, right if near is None else right + weak * near)


def _relative_error(problem: _Problem, cores: Sequence[Array], total: float) -> float:
    """||W - W'|| / ||W||, from the difference itself: inner products would lose half the digits."""
    wrong = problem.square(problem.weight - rebuild(problem.ops, problem.graph, cores))
    return (max(wrong, 0.0) / total) ** 0.5 if total > 0 else float(wrong > 0)


def _inner(ops: Splitting, a: Array, b: Array) -> float:
    return float(ops.sum((a.conj() * b).real, tuple(range(a.ndim))))
