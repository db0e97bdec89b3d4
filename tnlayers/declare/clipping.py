"""Clipping as a spec shows it: bonds above their exact maximum become that maximum, and the spec shows so."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TypeVar

from tnlayers.declare.declared import Declared
from tnlayers.declare.graph import Graph, clip
from tnlayers.declare.keywords import checked
from tnlayers.declare.registry import network_type
from tnlayers.errors import TNLayersError, TNLayersWarning

S = TypeVar("S", bound=Declared)

SIZES = ("bond_dim", "rank", "terms")  # keywords that size bonds, and may therefore be clipped
_WORTH = 2**12  # entries of a weight that is worth compressing: a default that does not is reported


def clipped(asked: S) -> S:
    """Tell what was clipped or padded, and let the spec's own numbers show what is built."""
    graph, notes = clip(asked.unclipped)
    result = even(_show_clipped(asked, graph) if notes else asked)
    larger: tuple[str, ...] = ()
    if result.rho > 1:
        larger = (f"{result.parameters} parameters, more than the {result.dense_parameters} of the dense weight",)
    elif _idle(asked, result):
        larger = (f"{result.parameters} parameters, as many as the dense weight has",)
    if _idle(asked, result):
        larger = (*larger, f"the default does not compress here: give {_size_of(result)}= a smaller number")
    result = replace(result, notes=(*asked.notes, *notes, *larger))
    padded = asked.notes and (asked.pad_in or asked.pad_out)  # here, and not by the caller
    # Only noted: a clipped default, and a number that is too large for some bonds but not for all.
    smaller = notes and asked.options and result.options != asked.options
    if _idle(asked, result) or smaller or padded:
        warnings.warn(f"{result}: {'; '.join(result.notes)}.", TNLayersWarning, stacklevel=3)
    return result


def _idle(asked: Declared, result: Declared) -> bool:
    """Whether nobody said how large the network may be, and it does not compress a weight that is worth it."""
    sized = {*SIZES, "blocks"} & {key for key, _ in asked.options}
    return result.rho >= 1 and not sized and result.dense_parameters >= _WORTH and _size_of(result) is not None


def _size_of(spec: Declared) -> str | None:
    """The keyword that says how large a network is."""
    keywords = network_type(spec.network).keywords
    return next((key for key in SIZES if key in keywords), None)


def even(spec: S) -> S:
    """The spec with one number where every bond has that size: specs that say the same are equal."""
    pairs = ((k, v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v) for k, v in spec.options)
    return replace(spec, options=tuple(pairs))


def _show_clipped(asked: S, graph: Graph) -> S:
    """The spec with its size keywords as built: one size per bond where the type takes that, else the least that do."""
    kind = network_type(asked.network)
    sizes = tuple(graph.sizes[i] for i in graph.summed)
    shown = asked
    for key in SIZES:
        value = dict(asked.options).get(key, kind.keywords.get(key))
        if not isinstance(value, (int, tuple)):
            continue
        if key in kind.per_edge and _declares(each := _with(shown, key, sizes), graph):
            shown = each
            continue
        entries = list(value) if isinstance(value, tuple) else [value]
        for k, entry in enumerate(entries):
            for size in sorted({size for size in sizes if size < entry}):
                less = [*entries[:k], size, *entries[k + 1 :]]
                smaller = _with(shown, key, tuple(less) if isinstance(value, tuple) else size)
                if _declares(smaller, graph):
                    shown, entries = smaller, less
                    break
    return shown


def _with(spec: S, key: str, value: int | tuple[int, ...]) -> S:
    return replace(spec, options=tuple(sorted({**dict(spec.options), key: checked(key, value)}.items())))


def _declares(spec: Declared, graph: Graph) -> bool:
    """Whether the spec declares this graph, once clipped; one that is refused does not."""
    try:
        return spec.graph == graph
    except TNLayersError:
        return False
