"""Sizes: a template gets its modes, or the modes that were written are checked against the sizes."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, TypeVar

from tnlayers.declare.declared import Declared
from tnlayers.declare.grammar import print_value
from tnlayers.declare.modes import Modes, factorise
from tnlayers.declare.registry import NetworkType, network_type
from tnlayers.errors import TNLayersError

S = TypeVar("S", bound=Declared)


def fill(draft: S, in_features: int | None, out_features: int | None) -> S:
    """Fill in the modes, or check those that were written against the sizes.

    Raises:
        TNLayersError: If a size is missing, or does not fit the modes written.
    """
    if draft.in_modes is not None or draft.out_modes is not None:
        for side, size in (("in", in_features), ("out", out_features)):
            modes = getattr(draft, f"{side}_modes")
            if modes is None and size is None:
                raise TNLayersError(f"{draft} has only one of in= and out=; write both, or give the sizes instead.")
            if modes is not None and size is not None:
                _check_product(side, modes, size, getattr(draft, f"pad_{side}"))
        if draft.cores is not None:
            raise TNLayersError(f"cores={draft.cores} together with written modes: the modes say how many cores.")
    kind = network_type(draft.network)
    order = draft.cores or kind.cores
    written = draft.in_modes or draft.out_modes
    if kind.split is not None and written is None and in_features is not None and out_features is not None:
        return _split_by_type(draft, kind, in_features, out_features)
    split: dict[str, Modes] = {}
    for side, size in (("in", in_features), ("out", out_features)):
        if getattr(draft, f"{side}_modes") is None:
            if size is None:
                raise TNLayersError(f"{draft} needs {side}_features as well: tnl.spec(..., in_features, out_features).")
            split[side] = factorise(size, len(written) if written else order)
    if not split:
        return draft
    notes = [f"{side}_features: {modes.note}" for side, modes in split.items() if modes.note]
    fields: dict[str, Any] = {f"pad_{side}": modes.padding for side, modes in split.items()}
    fields |= {f"{side}_modes": tuple(modes) for side, modes in split.items()}
    if len(split) == 2:
        keep = [k for k in range(order) if split["in"][k] * split["out"][k] > 1] or [0]
        if len(keep) < order:
            notes.append(f"{order - len(keep)} of {order} cores would have had only modes of 1 and were dropped")
            fields |= {f"{side}_modes": tuple(modes[k] for k in keep) for side, modes in split.items()}
    return replace(draft, **fields, cores=None, notes=tuple(notes))


def _split_by_type(draft: S, kind: NetworkType, in_features: int, out_features: int) -> S:
    """Ask the network type for the modes."""
    if draft.cores is not None:
        raise TNLayersError(f"cores={draft.cores}: {kind.name} has a fixed number of cores. Leave cores out.")
    assert kind.split is not None
    for size in (in_features, out_features):
        factorise(size, order=1)  # refuses what is no size
    both = dict(zip(("in", "out"), kind.split(in_features, out_features, **dict(draft.options)), strict=True))
    fields: dict[str, Any] = {f"{side}_modes": tuple(modes) for side, modes in both.items()}
    fields |= {f"pad_{side}": modes.padding for side, modes in both.items()}
    notes = tuple(f"{side}_features: {modes.note}" for side, modes in both.items() if modes.note)
    return replace(draft, **fields, notes=notes)


def _check_product(side: str, modes: tuple[int, ...], size: int, padding: int) -> None:
    if prod(modes) - padding != size:
        better = factorise(size, len(modes))
        pad = f", pad_{side}={better.padding}" if better.padding else ""
        raise TNLayersError(
            f"{side}={print_value(modes, modes=True)} multiplies to {prod(modes)}"
            f"{f' less {padding} of padding' if padding else ''}, but the layer has {size} {side}put features. The "
            f"modes must multiply to them: try {side}={print_value(tuple(better), modes=True)}{pad}."
        )


def check_pads(draft: Declared) -> None:
    """Refuse padding that leaves no feature."""
    for side in ("in", "out"):
        modes, padding = getattr(draft, f"{side}_modes"), getattr(draft, f"pad_{side}")
        if padding >= prod(modes):
            raise TNLayersError(f"pad_{side}={padding} leaves nothing of the {prod(modes)} features of modes {modes}.")
