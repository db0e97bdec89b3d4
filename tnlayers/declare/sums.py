"""Sums: one layer of several networks, whose weight is the sum of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from tnlayers.declare.declared import Declared
from tnlayers.errors import TNLayersError

S = TypeVar("S", bound=Declared)


def sum_of(terms: Sequence[S], bias: bool) -> S:
    """The spec of a sum; its terms lose their own bias, since the layer has one.

    Raises:
        TNLayersError: If the terms are not all sized alike or all templates.
    """
    sizes = {(term.in_features, term.out_features) if term.sized else None for term in terms}
    if len(sizes) > 1:
        each = ", ".join(f"{t} ({t.in_features} -> {t.out_features})" if t.sized else f"{t} (no sizes)" for t in terms)
        raise TNLayersError(f"The terms of a sum need equal sizes: {each}. Give all of them the same modes' products.")
    return type(terms[0])(
        network="sum",
        bias=bias,
        terms=tuple(replace(term, bias=False) for term in terms),
        notes=tuple(note for term in terms for note in term.notes),
    )
