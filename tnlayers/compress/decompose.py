"""`decompose`: a dense weight as the cores of a network, within a budget or an error, and what was delivered.

Loop-free networks are split by truncated SVDs (`splitting.py`); all others, and any network on request, are fitted by
alternating least squares (`alternating.py`). What the size keyword should be is chosen in `sizes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

from tnlayers.backends import backend_of
from tnlayers.compress.budget import Bound, ErrorOf, within_budget
from tnlayers.compress.sizes import Scale
from tnlayers.compress.splitting import Splitting
from tnlayers.compress.target import Fitted, Method, Target
from tnlayers.errors import TNLayersError
from tnlayers.program import Array
from tnlayers.spec import Spec
from tnlayers.spec import spec as make_spec
from tnlayers.sweep import balanced_terms

_DOUBLE = {"float16": "float64", "bfloat16": "float64", "float32": "float64", "complex64": "complex128"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """A weight as a network: the cores, and what was delivered.

    Attributes:
        spec: The declaration as built.
        cores: The cores by name, on the weight's backend and in its dtype, of equal norms.
        asked: What was asked for, in words.
        error: ||W - W'|| / ||W||, measured.
        output_error: The root of E||(W - W') x||^2 / E||W x||^2 by the inputs' second moment; None without.
        discarded: The share of ||W||^2 in the singular values left out, whose root the error cannot exceed; None where
            the cores were fitted.
    """

    spec: Spec
    cores: dict[str, Array]
    asked: str
    error: float
    output_error: float | None
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
        outputs = "" if self.output_error is None else f", of the outputs {self.output_error:.4g}"
        return (
            f"{self.spec}: asked {self.asked}; delivered {self.parameters} parameters, {self.ratio:.4g} of the "
            f"weight's, relative error {self.error:.4g}{outputs}"
        )


def decompose(
    weight: Array,
    network: str | Spec = "mpo",
    *,
    bond_dim: int | tuple[int, ...] | None = None,
    max_params: int | None = None,
    ratio: float | None = None,
    error: float | None = None,
    covariance: Array | None = None,
    error_of: ErrorOf = "weight",
    strict: bool = False,
    precise: bool = False,
    sweeps: int | None = None,
    restarts: int = 3,
    seed: int = 0,
) -> Decomposition:
    """Find the cores of a network whose weight comes close to a dense one.

    Args:
        weight: Of shape (out_features, in_features), real or complex, on any backend that has an SVD.
        network: A template, "mpo(cores=3)"; what of its size is not written is chosen.
        bond_dim: The size of every bond (or of the type's own size keyword: rank, terms, blocks).
        max_params: At most so many parameters.
        ratio: At most this share of the weight's parameters.
        error: At most this ||W - W'|| / ||W||; 0 keeps everything, up to rounding.
        covariance: The second moment of the inputs, E[x x^H], of shape (in_features, in_features), from a sample:
            `x.T @ x.conj() / len(x)`. Then the mean squared error of the outputs is what is minimised, not that of the
            weight; 1e-6 of its mean diagonal is added to it, so that directions that a small sample lacks are
            determined too.
        error_of: With a covariance, whether `error` limits the error of the "weight" or of the "output".
        strict: Refuse a budget that can only be met more than 2 % below it, instead of warning.
        precise: Compute in double precision whatever the weight's dtype, which the cores then have again; half
            precision always is.
        sweeps: Rounds of alternating least squares after the SVDs; None takes none there, 12 where the
            covariance is no product over the cores' inputs, and 60 for networks with loops, hyperedges or structural
            zeros, which have no other method.
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
    asked = asked_size(network, bond_dim, max_params, ratio, error)
    if error_of not in ("weight", "output") or (error_of == "output" and covariance is None):
        raise TNLayersError(
            f"error_of={error_of!r} with covariance={'None' if covariance is None else 'given'}: it is 'weight', or "
            "'output' where the covariance of the inputs is given."
        )
    ops, dtype = backend.ops, str(weight.dtype).removeprefix("torch.")
    wide = ops.cast(weight, _DOUBLE.get(dtype, dtype)) if precise or "float16" in dtype else weight
    moment = None if covariance is None else ops.cast(covariance, str(wide.dtype).removeprefix("torch."))
    target = Target(ops, wide, moment, Method(sweeps=sweeps, restarts=restarts, seed=seed))
    if asked is None:
        spec = make_spec(network, target.in_features, target.out_features)
        return _delivered(target, (spec, target.fitted(spec)), str(network), dtype)
    scale = Scale.of(network, target.in_features, target.out_features)
    if error is not None:
        return _delivered(target, Bound(target=target, scale=scale, error=error, of=error_of).met(), asked, dtype)
    if bond_dim is not None:
        spec = scale.at(bond_dim)
    else:
        limit = max_params if max_params is not None else int((ratio or 0.0) * scale.spec.dense_parameters)
        spec = within_budget(target, scale, limit, asked, strict=strict)
    return _delivered(target, (spec, target.fitted(spec)), asked, dtype)


def _delivered(target: Target, found: tuple[Spec, Fitted], asked: str, dtype: str) -> Decomposition:
    """What was found, with cores of equal norms, of the weight's own scale and dtype."""
    spec, fitted = found
    scale = target.largest ** (1 / len(fitted.cores))
    cores = (target.ops.cast(core * scale, dtype) for core in balanced_terms(target.ops, [spec.graph], fitted.cores))
    return Decomposition(
        spec=spec,
        cores=dict(zip(spec.shapes, cores, strict=True)),
        asked=asked,
        error=fitted.error,
        output_error=fitted.output_error,
        discarded=fitted.discarded,
    )


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
