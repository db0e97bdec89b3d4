"""The grid of a page: which networks, bonds, batch sizes and optimizers it carries plans for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tnlayers.declare.grammar import print_value
from tnlayers.declare.keywords import checked
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError, TNLayersWarning

BATCHES = (1, 4, 16, 64, 128, 256, 1024, 4096)
BONDS = (2, 4, 8, 16, 32)
NETWORKS = ("mpo", "ring", "tree", "cp")  # beside the type that is asked for
OPTIMIZERS = ("auto", "dp", "greedy")
_DP_UP_TO = 13  # operands: beyond these `dp` may take minutes, and is left out unless it is asked for


@dataclass(frozen=True, slots=True)
class Choice:
    """One network at one bond; `bond` is what it is called, "" for types without one size to choose."""

    bond: str
    spec: Spec

    @property
    def network(self) -> str:
        """The network's type."""
        return self.spec.network


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a page lets its reader choose. The first choice is the layer that was asked for.

    Attributes:
        choices: The networks with their bonds.
        batches: Batch sizes.
        optimizers: Names of optimizers; None for those that are quick enough for each network.
    """

    choices: tuple[Choice, ...]
    batches: tuple[int, ...]
    optimizers: tuple[str, ...] | None

    def optimizers_for(self, choice: Choice) -> tuple[str, ...]:
        """The optimizers whose plans are carried for one network."""
        if self.optimizers is not None:
            return self.optimizers
        operands = len(choice.spec.graph.cores) + 1
        return tuple(name for name in OPTIMIZERS if name != "dp" or operands <= _DP_UP_TO)

    @property
    def points(self) -> int:
        """How many plans that are."""
        return len(self.batches) * sum(len(self.optimizers_for(choice)) for choice in self.choices)


def one_network(spec: str | Spec) -> Spec:
    """A sized spec of a single network.

    Raises:
        TNLayersError: If it is a sum, or has no sizes.
    """
    made = make_spec(spec)
    if made.terms:
        raise TNLayersError(
            f"The explorer contracts one network, and {made} is a sum of {len(made.terms)}, each contracted by itself. "
            f"Explore one of them, such as {str(made.terms[0])!r}."
        )
    return _declared(made)


def make_grid(
    spec: str | Spec,
    *,
    batches: Sequence[int] | None = None,
    bonds: Sequence[int] | None = None,
    networks: Sequence[str] | None = None,
    optimizers: Sequence[str] | None = None,
) -> Grid:
    """The grid around a layer; None takes the defaults of this module, as far as they fit the layer's sizes.

    Args:
        spec: The layer, a single network with sizes.
        batches: Batch sizes.
        bonds: Bond dimensions (ranks, for types that have a rank); that of the layer is always there.
        networks: Network types for the same features; that of the layer is always there.
        optimizers: "auto" or optimizers of opt_einsum.

    Raises:
        TNLayersError: If the layer is a sum or has no sizes, a number is not positive, or a type that was named does
            not fit the sizes.

    Example:
        >>> grid = make_grid("mpo(in=4x7, out=2x5, bond=3)", bonds=[2, 4], networks=["cp"], batches=[1, 8])
        >>> [str(choice.spec) for choice in grid.choices][:2], grid.points
        (['mpo(in=4x7, out=2x5, bond=3)', 'mpo(in=4x7, out=2x5, bond=2)'], 30)
    """
    own = one_network(spec)
    for batch in batches or ():
        checked("batch", batch, per_edge=False)
    if networks is None:
        others = [found for name in NETWORKS if (found := fitting(name, own)) is not None]
    else:
        others = [same_features(name, own) for name in dict.fromkeys(networks)]
    choices = _bonds(own, bonds or BONDS, own=True)
    for other in others:
        if other.network != own.network:
            choices += _bonds(other, bonds or BONDS, own=False)
    return Grid(
        choices=tuple(choices),
        batches=tuple(sorted(set(batches or BATCHES))),
        optimizers=None if optimizers is None else tuple(dict.fromkeys(optimizers)),
    )


def bond_keyword(network: str) -> str | None:
    """What the one size of a network type is called: `bond_dim`, `rank`, or nothing."""
    keywords = network_type(network).keywords
    return next((name for name in ("bond_dim", "rank") if name in keywords), None)


def _bonds(made: Spec, bonds: Sequence[int], *, own: bool) -> list[Choice]:
    """A network at several bonds, with `own` first at the one that it has; what is clipped to the same network once."""
    keyword = bond_keyword(made.network)
    if keyword is None:
        return [Choice("", made)]
    found = [Choice(_told(made, keyword), made)] if own else []
    for bond in bonds:
        with warnings.catch_warnings():  # that a bond is above its maximum is no news here: the spec is shown
            warnings.simplefilter("ignore", TNLayersWarning)
            other = make_spec(made, **{keyword: bond})
        if all(other.graph != choice.spec.graph for choice in found):
            found.append(Choice(str(bond), other))
    return found


def _told(made: Spec, keyword: str) -> str:
    options = dict(made.options)
    value = options.get(keyword, network_type(made.network).keywords[keyword])
    return print_value(value)


def same_features(name: str, own: Spec) -> Spec:
    """Another type for the same features: with the same modes where it takes them, else with its own split.

    Raises:
        TNLayersError: If the type is unknown, or takes these sizes in no way.
    """
    network_type(name)
    if name == own.network:
        return own
    modes: dict[str, Any] = {
        "in_modes": own.in_modes,
        "out_modes": own.out_modes,
        "pad_in": own.pad_in,
        "pad_out": own.pad_out,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TNLayersWarning)
        try:
            return _declared(make_spec(name, bias=own.bias, **modes))
        except TNLayersError:  # some types bind their modes to each other: those get modes of their own
            return _declared(make_spec(name, own.in_features, own.out_features, bias=own.bias))


def fitting(name: str, own: Spec) -> Spec | None:
    """The same, or None where the type takes these sizes in no way."""
    try:
        return same_features(name, own)
    except TNLayersError:
        return None


def _declared(made: Spec) -> Spec:
    """The spec itself, its graphs declared: some types refuse their modes only then."""
    made.graphs  # noqa: B018
    return made
