"""Targets: one weight on its way to networks, what counts as close to it, and the cores of one network for it.

With the inputs' second moment C, close means close outputs, and everything happens in whitened coordinates
(`whitening.py`); without, it is the weight's own norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from tnlayers.cores.canonical import loop_free
from tnlayers.cores.linear_map import rebuild
from tnlayers.declare.graph import Graph
from tnlayers.declare.spec import Spec
from tnlayers.decompose.alternating import fit
from tnlayers.decompose.gauss_newton import exactly
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.starts import closed_form, enough_starts, starts
from tnlayers.decompose.tangent import affordable
from tnlayers.decompose.tied_tree import is_tied_tree, split_tied
from tnlayers.decompose.truncated_svd import spectra, split_tree
from tnlayers.decompose.whitening import RIDGE, Whitening, scaled, whiten
from tnlayers.program.program import Array

_SWEEPS = 40  # of alternating least squares where there is no other method
_TRIAL = 6  # of them from every start, the best of which has the others too
_EXACT = 1e-6  # errors asked for that are nearly none
_REFINEMENTS = 4  # of them after SVDs in coordinates that are not quite white: more gain little each


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How cores are found.

    Attributes:
        sweeps: Rounds of alternating least squares; None for as many as the network needs.
        restarts: Starts where SVDs alone do not give the cores.
        seed: Of the starts.
        goal: A relative error that is small enough to stop at, and to be fitted for to the last digit.
        rounds: At most so many over the terms of a sum.
    """

    sweeps: int | None = None
    restarts: int = 3
    seed: int = 0
    goal: float | None = None
    rounds: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Cores found for a target, and how far they are from it.

    Attributes:
        cores: In order of declaration; of the weight divided by its largest entry.
        error: ||W - W'|| / ||W||.
        output_error: The root of E||(W - W') x||^2 / E||W x||^2; None where nothing is known of x.
        discarded: The share of ||W||^2 in the singular values left out; None where the cores were fitted.
    """

    cores: list[Array]
    error: float
    output_error: float | None
    discarded: float | None


class Target:
    """A weight scaled to a largest entry of 1, so that no square leaves the range.

    Args:
        ops: The primitives of the weight's backend, with its SVD.
        weight: Of shape (out_features, in_features).
        covariance: The second moment of the inputs, E[x x^H], or None.
        method: How cores are found.

    Raises:
        TNLayersError: If the covariance is no second moment of the inputs.
    """

    def __init__(self, ops: Splitting, weight: Array, covariance: Array | None, method: Method) -> None:
        self.ops = ops
        self.method = method
        self.out_features, self.in_features = (int(size) for size in weight.shape)
        self.largest = float(abs(weight).max())
        self.weight = weight / self.largest if self.largest > 0 else weight
        self.moment = None if covariance is None else scaled(ops, covariance, self.in_features)
        self._whitenings: dict[tuple[object, ...], Whitening] = {}
        self.square = self._square(self.weight)
        self.output_square = self._output_square(self.weight)

    @property
    def rounding(self) -> float:
        """What `error=0` means in the weight's dtype: singular values of this share of ||W|| are rounding.

        Rounding of the entries leaves singular values that grow with the root of the sizes.
        """
        condition = 1.0 if self.moment is None else RIDGE**-0.5  # of going to whitened coordinates and back
        size = max(100.0, 10 * min(self.out_features, self.in_features) ** 0.5)
        epsilon = float(np.finfo(str(self.weight.dtype).removeprefix("torch.")).eps)
        return float(size * condition * epsilon)

    @property
    def exact(self) -> bool:
        """Whether cores are to be exact, or nearly."""
        return self._goal > 0

    @property
    def _goal(self) -> float:
        """A smaller error is always better, but not one of rounding."""
        asked = self.method.goal
        return max(asked, self.rounding) if asked is not None and asked < _EXACT else 0.0

    def fitted(self, spec: Spec) -> Fitted:
        """The cores of a sized spec for this weight."""
        cores, discarded = (self._summed(spec.parts), None) if spec.terms else self._cores(spec.graph, spec)
        return self._measured(spec, cores, discarded)

    def constructed(self, spec: Spec, opening: Sequence[int] | None = None) -> Fitted | None:
        """The cores of a network that has to be fitted, as far as there are some in closed form; else None.

        Args:
            spec: Its declaration.
            opening: The bonds that are opened to leave a tree; None for those that seem best.
        """
        cores = None if spec.terms else closed_form(self.ops, spec.graph, self.padded(spec), self.rounding, opening)
        return None if cores is None else self._measured(spec, cores, None)

    def _measured(self, spec: Spec, cores: list[Array], discarded: float | None) -> Fitted:
        difference = self.weight - self._rebuilt(spec, cores)
        wrong = self._output_square(difference)
        return Fitted(
            cores=cores,
            error=(self._square(difference) / self.square) ** 0.5 if self.square else 0.0,
            output_error=None if wrong is None else (wrong / self.output_square) ** 0.5 if self.output_square else 0.0,
            discarded=None if discarded is None else discarded / (self.square or 1.0),
        )

    def measure(self, fitted: Fitted) -> float:
        """What counts as the error: of the outputs where the inputs' second moment is known."""
        return fitted.error if fitted.output_error is None else fitted.output_error

    def reordered(self, in_order: Sequence[int], out_order: Sequence[int]) -> Target:
        """The target with its features in another order."""
        other = copy(self)
        ins, outs = list(in_order), list(out_order)
        other.weight = self.weight[outs][:, ins]
        other.moment = None if self.moment is None else self.moment[ins][:, ins]
        other._whitenings = {}
        return other

    def briefly(self, rounds: int) -> Target:
        """The same target with few rounds over the terms of a sum, to compare sums by."""
        other = copy(self)
        other.method = replace(self.method, rounds=rounds)
        return other

    def without(self, spec: Spec) -> Target:
        """The target of what a network leaves of the weight."""
        rest = copy(self)
        rest.weight = self.weight - self._rebuilt(spec, self._cores(spec.graph, spec)[0])
        return rest

    def spectra(self, spec: Spec, *, outputs: bool) -> dict[int, list[float]] | None:
        """Squared singular values by bond; None where the network has loops or parallel edges.

        Args:
            spec: Of any size.
            outputs: Whether of the weight in whitened coordinates.
        """
        graph = spec.graph
        if not loop_free(graph) or not graph.summed:
            return None
        weight = self.padded(spec)
        if outputs and (whitening := self._whitening(graph, spec)) is not None:
            weight = whitening.weight(self.ops, weight)
        found = spectra(self.ops, graph, weight)
        if any(len(bond) > 1 for bond in found):
            return None
        return {bond[0]: [float(s) ** 2 for s in values] for bond, values in found.items()}

    def is_white(self, spec: Spec) -> bool:
        """Whether singular values show errors, not bounds on them: `Whitening.metric` is the identity."""
        whitening = self._whitening(spec.graph, spec)
        return whitening is None or whitening.metric is None

    def padded(self, spec: Spec) -> Array:
        """The scaled weight with zeros for the padded features."""
        ops = self.ops
        wide = ops.pad(self.weight, spec.pad_in) if spec.pad_in else self.weight
        return ops.permute(ops.pad(ops.permute(wide, (1, 0)), spec.pad_out), (1, 0)) if spec.pad_out else wide

    def _rebuilt(self, spec: Spec, cores: Sequence[Array]) -> Array:
        """W' without the padded features."""
        left = iter(cores)
        parts = (rebuild(self.ops, graph, list(islice(left, len(graph.cores)))) for graph in spec.graphs)
        return sum(part[: self.out_features, : self.in_features] for part in parts)

    def _summed(self, terms: Sequence[Spec]) -> list[Array]:
        """The cores of a sum: each term in turn is fitted to what the others leave, until that no longer helps."""
        cores: list[list[Array]] = [[] for _ in terms]
        near = [0 * self.weight for _ in terms]
        least, best = float("inf"), cores
        for _ in range(self.method.rounds):
            for k, term in enumerate(terms):
                rest = copy(self)
                rest.weight = self.weight - sum(near[:k]) - sum(near[k + 1 :])
                cores[k] = rest._cores(term.graph, term)[0]
                near[k] = self._rebuilt(term, cores[k])
            left = self.weight - sum(near)
            wrong = self._square(left) if self.moment is None else self._output_square(left) or 0.0
            if wrong >= least * (1 - 1e-3):
                break
            least, best = wrong, [*cores]
        return [core for own in best for core in own]

    def _cores(self, graph: Graph, spec: Spec) -> tuple[list[Array], float | None]:
        weight, whitening = self.padded(spec), self._whitening(graph, spec)
        if whitening is not None:
            return self._whitened_cores(graph, weight, whitening), None
        if not loop_free(graph):
            return self._from_starts(graph, weight, None), None
        cores, discarded = split_tree(self.ops, graph, weight)
        if not self.method.sweeps:
            return cores, discarded
        return fit(self.ops, graph, weight, cores, sweeps=self.method.sweeps)[0], None

    def _whitened_cores(self, graph: Graph, weight: Array, whitening: Whitening) -> list[Array]:
        """The cores for close outputs: exact by SVDs where the coordinates are white, else the better start, fitted."""
        ops, metric, sweeps = self.ops, whitening.metric, self.method.sweeps
        white = whitening.weight(ops, weight)
        if not loop_free(graph):
            return whitening.back(ops, self._from_starts(graph, white, metric))
        starts = [split_tree(ops, graph, white)[0]]
        if metric is not None:
            starts.append(whitening.forth(ops, split_tree(ops, graph, weight)[0]))
            sweeps = _REFINEMENTS if sweeps is None else sweeps
        measured = (fit(ops, graph, white, start, sweeps=0, metric=metric) for start in starts)
        best = min(measured, key=lambda found: found[1])[0]
        return whitening.back(ops, fit(ops, graph, white, best, sweeps=sweeps or 0, metric=metric)[0])

    def _from_starts(self, graph: Graph, weight: Array, metric: Array | None) -> list[Array]:
        """The best fit of several: from the tree inside the network where there is one, and from random cores."""
        if metric is None and len(graph.cores) == 2 and is_tied_tree(graph):
            return split_tied(self.ops, graph, weight)  # no fit comes closer
        sweeps = self.method.sweeps or _SWEEPS
        best: tuple[list[Array], float] = ([], float("inf"))
        together = self.exact and self.square > 0 and affordable(graph)
        if self.exact and (known := closed_form(self.ops, graph, weight, self.rounding)) is not None:
            best = fit(self.ops, graph, weight, known, sweeps=0, metric=metric)
        count = enough_starts(graph, self.method.restarts) if together else self.method.restarts
        started = starts(self.ops, graph, weight, count, np.random.default_rng(self.method.seed), metric)
        if together:
            for start in started:  # exact in one metric is exact in all
                if best[1] <= self._goal:
                    break
                found = exactly(self.ops, graph, weight, start, goal=self._goal)
                best = min(best, found, key=lambda result: result[1])
            return best[0]
        improved = partial(fit, self.ops, graph, weight, metric=metric, goal=self._goal)
        if best[1] > self._goal:
            tried = [improved(start, sweeps=min(_TRIAL, sweeps)) for start in started]
            best = min([best, *tried], key=lambda result: result[1])
        return improved(best[0], sweeps=max(sweeps - _TRIAL, 0))[0]

    def _whitening(self, graph: Graph, spec: Spec) -> Whitening | None:
        """The coordinates of a network; those of one that differs only in its bonds serve again."""
        if self.moment is None:
            return None
        key = (graph.inputs, graph.in_modes, tuple(core.indices for core in graph.cores))
        if key not in self._whitenings:
            self._whitenings[key] = whiten(self.ops, graph, self._padded_moment(spec.pad_in))
        return self._whitenings[key]

    def _padded_moment(self, count: int) -> Array:
        """C and the ridge, padded features behind its own: what becomes of those is cut off, and hardly weighs."""
        ops = self.ops
        rows = ops.permute(ops.pad(self.moment, count), (1, 0))
        moment = ops.permute(ops.pad(rows, count), (1, 0))
        return moment + RIDGE * ops.eye(self.in_features + count, moment)

    def _square(self, array: Array) -> float:
        return float(self.ops.sum((array.conj() * array).real, (0, 1)))

    def _output_square(self, matrix: Array) -> float | None:
        if self.moment is None:
            return None
        return max(float(self.ops.sum((matrix.conj() * self.ops.matmul(matrix, self.moment)).real, (0, 1))), 0.0)
