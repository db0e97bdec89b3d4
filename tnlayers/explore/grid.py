"""The grid of a page: which networks, bonds, batch sizes and optimizers it has plans for."""

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
from tnlayers.explore.questions import LIMITS, OBJECTIVES, Question
from tnlayers.explore.subjects import Part, parts_of

BATCHES = (1, 4, 16, 64, 128, 256, 1024, 4096)
BONDS = (2, 4, 8, 16, 32)
NETWORKS = ("mpo", "ring", "tree", "cp")  # beside the type that is asked for
OPTIMIZERS = ("auto", "dp", "greedy")
_DP_UP_TO = 13  # operands: beyond these `dp` may take minutes, and is left out unless it is asked for


@dataclass(frozen=True, slots=True)
class Choice:
    """One network at one bond.

    Attributes:
        bond: What the bond is called, "" for parts without one size to choose.
        part: The network.
        near: 0 for what was asked for, 1 for other bonds of it, 2 for other types: the nearer, the more plans.
    """

    bond: str
    part: Part
    near: int = 2

    @property
    def network(self) -> str:
        """The network's type."""
        return self.part.network


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a page lets its reader choose. The first choice is what was asked for.

    Attributes:
        choices: The networks with their bonds.
        batches: Batch sizes.
        optimizers: Names of optimizers; None for those that are quick enough for each network.
    """

    choices: tuple[Choice, ...]
    batches: tuple[int, ...]
    optimizers: tuple[str, ...] | None

    def optimizers_for(self, choice: Choice) -> tuple[str, ...]:
        """The optimizers whose plans are there for one network."""
        if self.optimizers is not None:
            return self.optimizers
        operands = len(choice.part.contraction(1).operands)
        return tuple(name for name in OPTIMIZERS if name != "dp" or operands <= _DP_UP_TO)

    def questions(self, choice: Choice) -> list[Question]:
        """The plans that are there for one network: forward all, inference, training and limits of what is near."""
        found = []
        for batch in self.batches if choice.part.einsum is None else self.batches[:1]:
            names, own = self.optimizers_for(choice), choice.near == 0
            found += [Question(batch=batch, optimizer=name, ranked=own and name == names[0]) for name in names]
            if choice.part.einsum is not None or choice.near == 2:
                continue
            for objective in OBJECTIVES[1:]:
                found.append(Question(batch=batch, optimizer=names[0], objective=objective, ranked=own))
            if own:
                found += [Question(batch=batch, optimizer=names[0], limit=limit) for limit in LIMITS]
        return found

    @property
    def points(self) -> int:
        """How many plans that are."""
        return sum(len(self.questions(choice)) for choice in self.choices)


def make_grid(
    thing: Any,
    *,
    batches: Sequence[int] | None = None,
    bonds: Sequence[int] | None = None,
    networks: Sequence[str] | None = None,
    optimizers: Sequence[str] | None = None,
    shapes: Sequence[Sequence[int]] | None = None,
) -> Grid:
    """The grid around a layer; None takes the defaults of this module, as far as they fit the layer's sizes.

    Args:
        thing: What to explore, see `parts_of`.
        batches: Batch sizes.
        bonds: Bond dimensions (ranks, for types that have a rank); that of the layer is always there.
        networks: Network types for the same features; that of the layer is always there. By default none for things
            of several parts.
        optimizers: "auto", optimizers of opt_einsum, or "cotengra".
        shapes: The operands' shapes of an einsum.

    Raises:
        TNLayersError: If the layer has no sizes, a number is not positive, or a type that was named does
            not fit the sizes.

    Example:
        >>> grid = make_grid("mpo(in=4x7, out=2x5, bond=3)", bonds=[2, 4], networks=["cp"], batches=[1, 8])
        >>> [str(choice.part.title) for choice in grid.choices][:2], grid.points
        (['mpo(in=4x7, out=2x5, bond=3)', 'mpo(in=4x7, out=2x5, bond=2)'], 48)
    """
    parts = parts_of(thing, shapes)
    for batch in batches or ():
        checked("batch", batch, per_edge=False)
    choices: list[Choice] = []
    for part in parts:
        if part.spec is None:
            choices.append(Choice("", part, 0))
            continue
        choices += _bonds(part, bonds or BONDS, own=True)
        names = [name for name in networks or () if name != part.network]
        others = [same_features(name, part.spec) for name in dict.fromkeys(names)]
        if networks is None and len(parts) == 1:
            found = [fitting(name, part.spec) for name in NETWORKS if name != part.network]
            others = [other for other in found if other is not None]
        for other in others:
            choices += _bonds(of_spec(other, part.name), bonds or BONDS, own=False)
    return Grid(
        choices=tuple(choices),
        batches=tuple(sorted(set(batches or BATCHES))),
        optimizers=None if optimizers is None else tuple(dict.fromkeys(optimizers)),
    )


def bond_keyword(network: str) -> str | None:
    """What the one size of a network type is called: `bond_dim`, `rank`, or nothing."""
    keywords = network_type(network).keywords
    return next((name for name in ("bond_dim", "rank") if name in keywords), None)


def of_spec(made: Spec, name: str = "") -> Part:
    """A spec of one network as a part."""
    return Part(name=name, title=str(made), graph=made.graph, spec=made)


def at_bond(part: Part, bond: int) -> Part:
    """The same network at another bond or rank, clipped where it is larger than it can be.

    Raises:
        TNLayersError: If the network has no one size to choose.
    """
    keyword = None if part.spec is None else bond_keyword(part.network)
    if part.spec is None or keyword is None:
        raise TNLayersError(f"{part.title} has no single bond or rank to choose.")
    with warnings.catch_warnings():  # that a bond is above its maximum is no news here: the spec is shown
        warnings.simplefilter("ignore", TNLayersWarning)
        return of_spec(make_spec(part.spec, **{keyword: bond}), part.name)


def own_bond(part: Part) -> str:
    """What the bond of a part is called, "" where there is none to choose."""
    keyword = None if part.spec is None else bond_keyword(part.network)
    if part.spec is None or keyword is None:
        return ""
    return print_value(dict(part.spec.options).get(keyword, network_type(part.network).keywords[keyword]))


def _bonds(part: Part, bonds: Sequence[int], *, own: bool) -> list[Choice]:
    """A network at several bonds, with `own` first at the one that it has; what is clipped to the same network once."""
    called = own_bond(part)
    if not called:
        return [Choice("", part, 0 if own else 2)]
    found = [Choice(called, part, 0)] if own else []
    for bond in bonds:
        other = at_bond(part, bond)
        if all(other.graph != choice.part.graph for choice in found):
            found.append(Choice(str(bond), other, 1 if own else 2))
    return found


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
