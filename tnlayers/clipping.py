"""Clipping as a spec tells it: bonds above their exact maximum become that maximum, and the spec shows so."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.keywords import checked
from tnlayers.lower import Graph, clip
from tnlayers.networks.registry import declare, network_type

if TYPE_CHECKING:
    from tnlayers.spec import Spec

_SIZES = ("bond_dim", "rank")  # keywords that size bonds, and may therefore be clipped


def declared(spec: Spec) -> Graph:
    """The graph as its network function declares it, before any bond is clipped."""
    in_modes, out_modes = spec.modes
    return declare(spec.network, in_modes, out_modes, spec.options)


def clipped(asked: Spec) -> Spec:
    """Tell what was clipped or padded, and let the spec's own numbers show what is built."""
    graph, notes = clip(declared(asked))
    told = _even(_show_clipped(asked, graph) if notes else asked)
    larger: tuple[str, ...] = ()
    if told.rho > 1:
        larger = (f"{told.parameters} parameters, more than the {told.dense_parameters} of the dense weight",)
    told = replace(told, notes=(*asked.notes, *notes, *larger))
    padded = asked.notes and (asked.pad_in or asked.pad_out)  # here, and not by the caller
    if (notes and asked.options) or padded:  # a clipped default is noted, not warned about
        warnings.warn(f"{told}: {'; '.join(told.notes)}.", TNLayersWarning, stacklevel=3)
    return told


def _even(spec: Spec) -> Spec:
    """The spec with one number where every bond has that size: specs that say the same are equal."""
    pairs = ((k, v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v) for k, v in spec.options)
    return replace(spec, options=tuple(pairs))


def _show_clipped(asked: Spec, graph: Graph) -> Spec:
    """The spec with its bond keyword as built: one size per bond where the type takes that, else the largest."""
    kind = network_type(asked.network)
    sizes = tuple(graph.sizes[i] for i in graph.summed)
    options = {key: value for key, value in kind.keywords.items() if key in _SIZES} | dict(asked.options)
    for key in _SIZES:
        if isinstance(value := options.get(key), (int, tuple)):
            least = value if isinstance(value, tuple) else (value,)
            options[key] = checked(key, sizes if key in kind.per_edge else min(*least, max(sizes)))
    shown = replace(asked, options=tuple(sorted(options.items())))
    try:
        return shown if shown.graph == graph else asked
    except TNLayersError:  # a type whose bonds are not its only summed indices: it keeps the number asked for
        return asked
