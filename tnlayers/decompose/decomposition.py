"""`decompose`: a dense weight as the cores of a network, within a budget or an error, and what was delivered.

Loop-free networks are split by truncated SVDs (`truncated_svd.py`); all others, and any network on request, are fitted
by alternating least squares (`alternating.py`); sums term by term. What the size keyword should be is chosen in
`sizes.py`, and how a budget is divided among the terms of a sum in `sum_division.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tnlayers.backends import backend_of
from tnlayers.cores.canonical import balanced_terms
from tnlayers.cores.convert import to_backend
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.arrangement import Arranged, Searched, arranged
from tnlayers.decompose.asked import asked_size, check_method
from tnlayers.decompose.singular_vectors import Splitting
from tnlayers.decompose.size_search import Bound, ErrorOf, Found, standing_out, within_budget
from tnlayers.decompose.sizes import BondDim, Scale, quiet
from tnlayers.decompose.sum_division import divided_sum
from tnlayers.decompose.target import Method, Target
from tnlayers.decompose.zero import trainable
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array

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
        in_order: Which input feature the network reads at each place; None for the order as it is.
        out_order: Which output feature it writes at each place; None for the order as it is.
        searched: What a search over shapes and orders bought; None without one.
    """

    spec: Spec
    cores: dict[str, Array]
    asked: str
    error: float
    output_error: float | None
    discarded: float | None
    in_order: tuple[int, ...] | None = None
    out_order: tuple[int, ...] | None = None
    searched: Searched | None = None

    @property
    def parameters(self) -> int:
        """Entries of all cores."""
        return self.spec.parameters

    @property
    def ratio(self) -> float:
        """Parameters after over parameters before."""
        return self.spec.rho

    @property
    def order_bytes(self) -> int:
        """What the orders of features cost a layer that has them, as 32-bit integers; they are no parameters."""
        return 4 * sum(len(order) for order in (self.in_order, self.out_order) if order is not None)

    def layer(self, backend: str | None = None) -> Any:
        """A linear layer of these cores, without a bias, on the weight's backend or another.

        Args:
            backend: "torch", "jax", "numpy" or any other that is installed; None for the backend of the cores.

        Raises:
            TNLayersError: If features are in an order of their own, which such a layer does not have, the backend is
                not installed, or it lacks the dtype.

        Example:
            >>> import numpy as np
            >>> found = decompose(np.eye(16), "mpo(cores=2)", bond_dim=1)
            >>> found.layer("numpy")(np.ones(16))[:3].round(6)
            array([1., 1., 1.])
        """
        if self.order_bytes:
            raise TNLayersError(
                "This decomposition reads or writes features in an order of its own, which a layer of cores alone does "
                "not carry. Decompose with orders=False, or take tnl.nn.TNLinear.from_linear(..., search=seconds)."
            )
        from tnlayers_backends.base import Parts

        storage = backend_of(next(iter(self.cores.values()))).storage
        made = storage.put_together(Parts("linear", {}, self.spec, self.cores))
        return made if backend is None else to_backend(made, backend)

    def __str__(self) -> str:
        outputs = "" if self.output_error is None else f", of the outputs {self.output_error:.4g}"
        searched = "" if self.searched is None else f"; {self.searched}, {self.order_bytes} bytes of orders"
        return (
            f"{self.spec}: asked {self.asked}; delivered {self.parameters} parameters, {self.ratio:.4g} of the "
            f"weight's, relative error {self.error:.4g}{outputs}{searched}"
        )


def decompose(
    weight: Array,
    network: str | Spec = "mpo",
    *,
    bond_dim: BondDim | None = None,
    max_params: int | None = None,
    ratio: float | None = None,
    error: float | None = None,
    covariance: Array | None = None,
    error_of: ErrorOf = "weight",
    strict: bool = False,
    search: float = 0.0,
    orders: bool = True,
    precise: bool = False,
    sweeps: int | None = None,
    restarts: int = 3,
    seed: int = 0,
) -> Decomposition:
    """Find the cores of a network whose weight comes close to a dense one.

    Args:
        weight: Of shape (out_features, in_features), real or complex, on any backend that has an SVD.
        network: A template, "mpo(cores=3)"; what of its size is not written is chosen. Of a sum, "lowrank + mpo", a
            budget of parameters is divided among the terms, as gives the least measured error.
        bond_dim: The size of every bond (or of the type's own size keyword: rank, terms, blocks); or "vbmf", which
            keeps at every bond the singular values that stand out of the weight's noise (Nakajima et al. 2013).
        max_params: At most so many parameters.
        ratio: At most this share of the weight's parameters.
        error: At most this ||W - W'|| / ||W||, up to 1. 0 is exact to the rounding of the dtype (100 of its epsilons,
            or ten times the root of the lesser size where that is more). Loop-free networks and two cores then have the
            ranks of the weight's unfoldings, and no exact one has smaller bonds. With hyperedges and loops (cp,
            block_term, ring, peps, mera, ...) it is the least size at which a fit was exact, and no larger than a
            closed form; a smaller one may exist, since to know the least is NP-hard already for the rank of a tensor,
            cp's (Hillar and Lim 2013, doi 10.1145/2512329). A type that cannot hold the weight is refused.
        covariance: The second moment of the inputs, E[x x^H], of shape (in_features, in_features), from a sample:
            `x.T @ x.conj() / len(x)`. Then the mean squared error of the outputs is what is minimised, not that of the
            weight; 1e-6 of its mean diagonal is added to it, so that directions that a small sample lacks are
            determined too.
        error_of: With a covariance, whether `error` limits the error of the "weight" or of the "output".
        strict: Refuse a budget that can only be met more than 2 % below it, instead of warning.
        search: Seconds to search for other factorisations of the sizes, where the template writes no modes, and for
            other orders of the features (the one at work is finished). The error at the same number of parameters falls
            or stays; of an `error`, the parameters.
        orders: Whether a search may reorder features; a layer then has to have the orders.
        precise: Compute in double precision whatever the weight's dtype, which the cores then have again; half
            precision always is.
        sweeps: Rounds of alternating least squares after the SVDs; None takes none there, 4 where the
            covariance is no product over the cores' inputs, and 60 for networks with loops, hyperedges or structural
            zeros, which have no other method.
        restarts: For those, how many starts, the best of which counts: one from the SVDs of the tree inside a network
            with loops, the others random.
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
    sizes: dict[str, Any] = {"bond_dim": bond_dim, "max_params": max_params, "ratio": ratio, "error": error}
    asked = asked_size(network, **sizes)
    if error_of not in ("weight", "output") or (error_of == "output" and covariance is None):
        raise TNLayersError(
            f"error_of={error_of!r} with covariance={'None' if covariance is None else 'given'}: it is 'weight', or "
            "'output' where the covariance of the inputs is given."
        )
    dtype = str(weight.dtype).removeprefix("torch.")
    check_method(sweeps, restarts, search)
    method = Method(sweeps=sweeps, restarts=restarts, seed=seed, goal=error)
    target = _target(weight, covariance, _DOUBLE.get(dtype, dtype) if precise or "float16" in dtype else dtype, method)
    bound = None
    if error is not None:
        scale = Scale.of(network, target.in_features, target.out_features)
        bound = Bound(target=target, scale=scale, error=error, of=error_of)
    found, limit = _found(target, network, bound, sizes, strict=strict)
    asked = asked or str(network)
    if not search:
        return _delivered(Arranged(target=target, found=found), None, asked, dtype)
    with quiet():
        template = make_spec(network)
    best, searched = arranged(target, template, found, limit, seconds=search, orders=orders)
    if bound is not None:  # a lower error at equal parameters leaves room for fewer
        scale = Scale.of(best.found[0], target.in_features, target.out_features)
        fewer = replace(bound, target=best.target, scale=scale).met()
        best = replace(best, found=min(fewer, best.found, key=lambda one: one[0].parameters))
    return _delivered(best, searched, asked, dtype)


def _target(weight: Array, covariance: Array | None, dtype: str, method: Method) -> Target:
    """The weight as a target, computed in a dtype."""
    backend = backend_of(weight)
    ops = backend.ops
    if not isinstance(ops, Splitting):
        raise TNLayersError(
            f"The backend {backend.name!r} offers no singular value decomposition; decompose numpy, torch or jax "
            "arrays, and bring the layer over with tnl.to_backend."
        )
    _check_weight(weight)
    return Target(ops, ops.cast(weight, dtype), None if covariance is None else ops.cast(covariance, dtype), method)


def _found(
    target: Target, network: str | Spec, bound: Bound | None, sizes: Mapping[str, Any], *, strict: bool
) -> tuple[Found, int]:
    """What meets the size that was asked, and the parameters that it may have."""
    if bound is not None:
        found = bound.met()
        return found, found[0].parameters
    if all(value is None for value in sizes.values()):
        spec = make_spec(network, target.in_features, target.out_features)
        return (spec, target.fitted(spec)), spec.parameters
    key = "max_params" if sizes["ratio"] is None else "ratio"
    with quiet():  # of a template with modes the size is chosen below
        template = make_spec(network)
    if template.terms and sizes[key] is not None:
        limit = sizes[key] if key == "max_params" else int(sizes[key] * target.in_features * target.out_features)
        return divided_sum(target, template, limit), limit
    scale = Scale.of(network, target.in_features, target.out_features)
    if sizes["bond_dim"] is not None:
        spec = standing_out(target, scale) if sizes["bond_dim"] == "vbmf" else scale.at(sizes["bond_dim"])
        return (spec, target.fitted(spec)), spec.parameters
    limit = sizes[key] if key == "max_params" else int(sizes[key] * scale.spec.dense_parameters)
    spec = within_budget(target, scale, limit, f"{key}={sizes[key]}", strict=strict)
    return (spec, target.fitted(spec)), limit


def _delivered(best: Arranged, searched: Searched | None, asked: str, dtype: str) -> Decomposition:
    """What was found, with cores of equal norms, of the weight's own scale and dtype; a zero weight can be trained."""
    target, (spec, fitted) = best.target, best.found
    scales = [target.largest ** (1 / len(graph.cores)) for graph in spec.graphs for _ in graph.cores]
    balanced = balanced_terms(target.ops, spec.graphs, fitted.cores)
    found = [target.ops.cast(core * scale, dtype) for core, scale in zip(balanced, scales, strict=True)]
    cores = trainable(target.ops, spec.graphs, found, target.in_features)
    return Decomposition(
        spec=spec,
        cores=dict(zip(spec.shapes, cores, strict=True)),
        asked=asked,
        error=fitted.error,
        output_error=fitted.output_error,
        discarded=fitted.discarded,
        in_order=best.in_order,
        out_order=best.out_order,
        searched=searched,
    )


def _check_weight(weight: Array) -> None:
    if weight.ndim != 2 or 0 in tuple(weight.shape):
        raise TNLayersError(f"A weight of shape (out_features, in_features) is needed, got {tuple(weight.shape)}.")
    if str(getattr(weight, "device", "")) == "meta":
        raise TNLayersError(
            f"The weight of shape {tuple(weight.shape)} is on the meta device, without values to decompose. Load the "
            "trained weights first."
        )
    bad = int(prod(weight.shape)) - int((abs(weight) < float("inf")).sum())
    if bad:
        raise TNLayersError(
            f"{bad} of the {prod(weight.shape)} entries of the weight are NaN or infinite: it has no decomposition. "
            "Look for the step of its training that made them."
        )
