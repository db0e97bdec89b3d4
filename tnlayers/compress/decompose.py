"""`decompose`: a dense weight as the cores of a network, within a budget or an error, and what was delivered.

Loop-free networks are split by truncated SVDs (`splitting.py`); all others, and any network on request, are fitted by
alternating least squares (`alternating.py`). What the size keyword should be is chosen in `sizes.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np

from tnlayers.backends import backend_of
from tnlayers.compress.alternating import fit
from tnlayers.compress.sizes import Scale, divided, largest_within, least_for, next_above
from tnlayers.compress.splitting import Splitting, spectra, split_tree
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.initialise import draw_layer
from tnlayers.layer import rebuild
from tnlayers.lower import Graph
from tnlayers.program import Array
from tnlayers.spec import Spec
from tnlayers.spec import spec as make_spec
from tnlayers.sweep import balanced_terms, walk

_NEAR = 0.98  # a delivered size below this share of what was asked is told
_SWEEPS = 60  # of alternating least squares where nothing is said
_TIGHTENINGS = 6  # tries to need fewer parameters than the bound on the error asks for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """A weight as a network: the cores, and what was delivered.

    Attributes:
        spec: The declaration as built.
        cores: The cores by name, on the weight's backend and in its dtype, of equal norms.
        asked: What was asked for, in words.
        error: ||W - W'|| / ||W||, measured.
        discarded: The share of ||W||^2 in the singular values left out, whose root the error cannot exceed; None where
            the cores were fitted.
    """

    spec: Spec
    cores: dict[str, Array]
    asked: str
    error: float
    discarded: float | None

    @property
    def parameters(self) -> int:
        """Entries of all cores."""
        return self.spec.parameters

    @property
    def ratio(self) -> float:
        """Parameters after over parameters before."""
        return self.spec.rho

    def __str__(self) -> str:
        return (
            f"{self.spec}: asked {self.asked}; delivered {self.parameters} parameters, {self.ratio:.4g} of the "
            f"weight's, relative error {self.error:.4g}"
        )


def decompose(
    weight: Array,
    network: str | Spec = "mpo",
    *,
    bond_dim: int | tuple[int, ...] | None = None,
    max_params: int | None = None,
    ratio: float | None = None,
    error: float | None = None,
    strict: bool = False,
    sweeps: int | None = None,
    restarts: int = 3,
    seed: int = 0,
) -> Decomposition:
    """Find the cores of a network whose weight comes close to a dense one.

    Args:
        weight: Of shape (out_features, in_features), real or complex, on any backend that has an SVD; computed in its
            own dtype, so give float64 where that matters.
        network: A template, "mpo(cores=3)"; what of its size is not written is chosen.
        bond_dim: The size of every bond (or of the type's own size keyword: rank, terms, blocks).
        max_params: At most so many parameters.
        ratio: At most this share of the weight's parameters.
        error: At most this ||W - W'|| / ||W||; 0 keeps everything, up to rounding.
        strict: Refuse a budget that can only be met more than 2 % below it, instead of warning.
        sweeps: Rounds of alternating least squares after the SVDs; None takes none there, and 60 for networks with
            loops, hyperedges or structural zeros, which have no other method.
        restarts: For those, how many random starts; the best counts.
        seed: Of the starts.

    Returns:
        The cores and what was delivered.

    Raises:
        TNLayersError: If the weight is no finite matrix, not exactly one of the four sizes is given (in the call or
            in the template), the budget or the error is out of reach, or `strict` and not met closely.

    Example:
        >>> import numpy as np
        >>> i = np.arange(64)
        >>> smooth = np.exp(-np.abs(i[:, None] - i[None, :]) / 16)
        >>> found = decompose(smooth, "mpo(cores=3)", error=0.01)
        >>> found.error <= 0.01, found.ratio < 0.2
        (True, True)
    """
    backend = backend_of(weight)
    if not isinstance(backend.ops, Splitting):
        raise TNLayersError(
            f"The backend {backend.name!r} offers no singular value decomposition; decompose numpy or torch arrays, "
            "and bring the layer over with tnl.to_backend."
        )
    _check_weight(weight)
    work = _Work(backend.ops, weight, strict, sweeps, restarts, seed)
    asked = asked_size(network, bond_dim, max_params, ratio, error)
    if asked is None:
        return work.deliver(make_spec(network, work.in_features, work.out_features), str(network))
    scale = Scale.of(network, work.in_features, work.out_features)
    if bond_dim is not None:
        return work.deliver(scale.at(bond_dim), asked)
    if error is not None:
        return work.within_error(scale, error, asked)
    dense = work.in_features * work.out_features
    limit = max_params if max_params is not None else int((ratio or 0.0) * dense)
    return work.within_budget(scale, limit, asked)


def asked_size(
    network: str | Spec,
    bond_dim: int | tuple[int, ...] | None = None,
    max_params: int | None = None,
    ratio: float | None = None,
    error: float | None = None,
) -> str | None:
    """The one size that was given, in words; None where the template itself says it.

    Raises:
        TNLayersError: If several were given, none at all, or one that is no size.
    """
    sizes = {"bond_dim": bond_dim, "max_params": max_params, "ratio": ratio, "error": error}
    given = {key: value for key, value in sizes.items() if value is not None}
    if len(given) > 1:
        told = ", ".join(f"{key}={value}" for key, value in given.items())
        raise TNLayersError(f"{told} were given together; give exactly one of {', '.join(sizes)}.")
    for key, value in given.items():
        if key in ("ratio", "error") and not (isinstance(value, (int, float)) and isfinite(value) and value >= 0):
            raise TNLayersError(f"{key}={value!r} must be a number of at least 0.")
        if key == "max_params" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise TNLayersError(f"max_params={value!r} must be an integer of at least 1.")
        return f"{key}={value}"
    template = make_spec(network)
    if not template.sized and not template.options:
        raise TNLayersError(
            f"Say how large {network} may be: exactly one of {', '.join(f'{key}=' for key in sizes)}, or write it into "
            "the template."
        )
    return None


def _check_weight(weight: Array) -> None:
    if weight.ndim != 2 or 0 in tuple(weight.shape):
        raise TNLayersError(f"A weight of shape (out_features, in_features) is needed, got {tuple(weight.shape)}.")
    bad = int(prod(weight.shape)) - int((abs(weight) < float("inf")).sum())
    if bad:
        raise TNLayersError(
            f"{bad} of the {prod(weight.shape)} entries of the weight are NaN or infinite: it has no decomposition. "
            "Look for the step of its training that made them."
        )


class _Work:
    """One weight on its way to a network: scaled to a largest entry of 1, so that no square leaves the range."""

    def __init__(
        self, ops: Splitting, weight: Array, strict: bool, sweeps: int | None, restarts: int, seed: int
    ) -> None:
        self.ops = ops
        self.strict = strict
        self.sweeps = sweeps
        self.restarts = restarts
        self.seed = seed
        self.out_features, self.in_features = (int(size) for size in weight.shape)
        self.largest = float(abs(weight).max())
        self.weight = weight / self.largest if self.largest > 0 else weight
        self.norm2 = self._square(self.weight)

    def deliver(self, spec: Spec, asked: str) -> Decomposition:
        """The decomposition of a given spec."""
        padded = self._padded(spec)
        cores, discarded = self._cores(spec.graph, padded)
        found = rebuild(self.ops, spec.graph, cores)[: self.out_features, : self.in_features]
        difference = self.weight - found
        error = (self._square(difference) / self.norm2) ** 0.5 if self.norm2 else 0.0
        scaled = [core * self.largest ** (1 / len(cores)) for core in balanced_terms(self.ops, [spec.graph], cores)]
        return Decomposition(
            spec=spec,
            cores=dict(zip(spec.shapes, scaled, strict=True)),
            asked=asked,
            error=error,
            discarded=None if discarded is None else discarded / (self.norm2 or 1.0),
        )

    def within_budget(self, scale: Scale, limit: int, asked: str) -> Decomposition:
        """The best use of at most `limit` parameters."""
        found = largest_within(scale, limit)
        if (values := self._spectra(scale)) is not None:
            found = divided(scale, values, lambda spec: spec.parameters <= limit) or found
        if found.parameters < _NEAR * min(limit, scale.at(scale.values()[-1]).parameters):
            self._tell_gap(scale, found, limit, asked)
        return self.deliver(found, asked)

    def within_error(self, scale: Scale, error: float, asked: str) -> Decomposition:
        """The fewest parameters that keep the relative error at most at `error`."""
        if (values := self._spectra(scale)) is not None:
            return self._tightened(scale, values, error, asked)
        return self._least(scale, scale.values(), error, asked)

    def _least(self, scale: Scale, values: Sequence[int], error: float, asked: str) -> Decomposition:
        """The first of the values, from few parameters to many, whose error is small enough: by doubling, then halving.

        Large values are costly to fit, so they are tried only when smaller ones have failed.
        """
        low, high = -1, 0
        best = self.deliver(scale.at(values[high]), asked)
        while best.error > max(error, self._rounding()):
            if high == len(values) - 1 or best.parameters > 2 * self.weight.shape[0] * self.weight.shape[1]:
                raise TNLayersError(
                    f"{best.spec} has a relative error of {best.error:.4g}; {error:.4g} was asked, and larger ones are "
                    "not worth trying. Take a universal type such as mpo, more restarts= or sweeps=, or allow more."
                )
            low, high = high, min(2 * high + 1, len(values) - 1)
            best = self.deliver(scale.at(values[high]), asked)
        while high - low > 1:
            middle = (low + high) // 2
            tried = self.deliver(scale.at(values[middle]), asked)
            low, high, best = (low, middle, tried) if tried.error <= error else (middle, high, best)
        return best

    def _tightened(self, scale: Scale, values: list[list[float]], error: float, asked: str) -> Decomposition:
        """Bonds by the bound on the error; then as much of the bound's slack as the measured error leaves."""
        best = self.deliver(scale.at(least_for(values, error**2 * self.norm2)), asked)
        low, high = 1.0, float(len(values))  # the bound adds up the bonds' tails: that much too large at most
        for _ in range(_TIGHTENINGS if error > 0 else 0):
            middle = (low + high) / 2
            spec = scale.at(least_for(values, middle * error**2 * self.norm2))
            tried = best if spec == best.spec else self.deliver(spec, asked)
            if tried.error <= error:
                low, best = middle, min(best, tried, key=lambda found: found.parameters)
            else:
                high = middle
        return best

    def _tell_gap(self, scale: Scale, found: Spec, limit: int, asked: str) -> None:
        larger = next_above(scale, limit)
        above = f"; the next larger is {larger} with {larger.parameters}" if larger else ""
        told = (
            f"{asked} allows {limit} parameters; the nearest below is {found} with {found.parameters} "
            f"({found.parameters / limit:.3f} of that){above}."
        )
        if self.strict:
            raise TNLayersError(f"{told} Ask for one of these, or leave strict=True out.")
        warnings.warn(told, TNLayersWarning, stacklevel=4)

    def _spectra(self, scale: Scale) -> list[list[float]] | None:
        """Squared singular values per entry of the keyword; None where the type or its graph has none."""
        if not scale.per_edge:
            return None
        narrow = scale.at(1)
        if not _loop_free(narrow.graph) or not narrow.graph.summed:
            return None
        found = spectra(self.ops, narrow.graph, self._padded(narrow))
        return [[float(s) ** 2 for s in found[index,]] for index in narrow.graph.summed]

    def _cores(self, graph: Graph, weight: Array) -> tuple[list[Array], float | None]:
        if _loop_free(graph):
            cores, discarded = split_tree(self.ops, graph, weight)
            if not self.sweeps:
                return cores, discarded
            return fit(self.ops, graph, weight, cores, sweeps=self.sweeps)[0], None
        rng = np.random.default_rng(self.seed)
        starts: list[tuple[list[Array], float]] = []
        for _ in range(self.restarts):
            variance = max(self.norm2 / prod(weight.shape), 1e-30)
            drawn = draw_layer([graph], variance, rng, str(weight.dtype).removeprefix("torch."))
            start = [self._like(core) for core in drawn.values()]
            starts.append(fit(self.ops, graph, weight, start, sweeps=self.sweeps or _SWEEPS))
        return min(starts, key=lambda found: found[1])[0], None

    def _like(self, core: np.ndarray) -> Array:
        """A numpy array as one of the weight's kind."""
        return self.ops.like(core, self.weight)

    def _padded(self, spec: Spec) -> Array:
        """The scaled weight with zeros for the padded features."""
        ops = self.ops
        wide = ops.pad(self.weight, spec.pad_in) if spec.pad_in else self.weight
        return ops.permute(ops.pad(ops.permute(wide, (1, 0)), spec.pad_out), (1, 0)) if spec.pad_out else wide

    def _square(self, array: Array) -> float:
        return float(self.ops.sum((array.conj() * array).real, (0, 1)))

    def _rounding(self) -> float:
        """What `error=0` can mean in the weight's dtype."""
        return 100 * float(np.finfo(str(self.weight.dtype).removeprefix("torch.")).eps)


def _loop_free(graph: Graph) -> bool:
    """Whether every bond cuts the network in two, and no index is input and output at once."""
    try:
        walk(graph, 0)
    except TNLayersError:
        return False
    return not graph.shared
