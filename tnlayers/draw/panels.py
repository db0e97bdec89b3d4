"""From what is asked to a picture: each thing as a panel with its heading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from tnlayers.cores.spectrum import Spectra
from tnlayers.declare.graph import Graph
from tnlayers.declare.registry import network_type
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.draw.contraction import contraction
from tnlayers.draw.measured import draw_measured
from tnlayers.draw.network import network
from tnlayers.draw.page import Panel, paged
from tnlayers.draw.passes import longest, passes
from tnlayers.draw.picture import Picture
from tnlayers.draw.scene import Group
from tnlayers.draw.spectra import draw_spectra
from tnlayers.draw.steps import byte_text
from tnlayers.draw.theme import Theme, check_theme
from tnlayers.draw.timeline import HEIGHT, highest, timeline
from tnlayers.errors import TNLayersError
from tnlayers.planning.measured import Measurement
from tnlayers.planning.plan import AnyPlan, Plan, SumPlan
from tnlayers.planning.text import amount, beside_dense, order_text


@dataclass(frozen=True, slots=True)
class Network:
    """A layer to draw: its graphs, one per term of a sum, and what they are called."""

    name: str
    graphs: tuple[Graph, ...]
    spec: Spec | None = None


def picture(things: Sequence[Any], theme: str) -> Picture:
    """Draw things side by side.

    Raises:
        TNLayersError: If there are none, or one cannot be drawn.
    """
    checked = check_theme(theme)
    if not things:
        raise TNLayersError("tnl.draw needs something to draw: a spec, a layer, or a plan such as tnl.plan(spec, 128).")
    if spectra := [thing for thing in things if isinstance(thing, Spectra)]:
        return _spectra(spectra, things, checked)
    if measured := [thing for thing in things if isinstance(thing, Measurement)]:
        if len(measured) < len(things):
            raise TNLayersError("Measured times are drawn beside each other only: draw layers and plans by themselves.")
        return draw_measured(measured, checked)
    known = [_known(thing) for thing in things]
    plans = [term for thing in known if not isinstance(thing, Network) for term in thing.terms]
    tops, lengths = highest(plans), longest(plans)
    rows = [
        _network_panels(thing)
        if isinstance(thing, Network)
        else [_plan_panel(term, tops, lengths) for term in thing.terms]
        for thing in known
    ]
    panels = [panel for row in rows for panel in row]
    plus = {sum(map(len, rows[:k])) + n for k, row in enumerate(rows) for n in range(1, len(row))}
    return paged(panels, checked, _title(known), plus)


def _spectra(spectra: Sequence[Spectra], things: Sequence[Any], theme: Theme) -> Picture:
    if len(spectra) < len(things):
        raise TNLayersError(
            "Spectra are drawn beside spectra only: draw the layers and plans in a picture of their own."
        )
    return draw_spectra(spectra, theme)


def _known(thing: Any) -> Network | AnyPlan:
    """What is to be drawn of a thing: a plan itself, or a network.

    Raises:
        TNLayersError: If it is nothing that has a picture.
    """
    if isinstance(thing, Plan | SumPlan):
        return thing
    if isinstance(thing, Graph):
        return Network(f"graph of {len(thing.cores)} cores", (thing,))
    # Layers hold their graphs: the code that declared them may not be here.
    linear = getattr(thing, "_map", getattr(thing, "map", thing))
    spec = make_spec(linear) if isinstance(linear, str | Spec) else getattr(linear, "spec", None)
    if isinstance(spec, Spec):
        graphs: tuple[Graph, ...] = getattr(linear, "graphs", None) or spec.graphs
        return Network(str(spec), graphs, spec)
    raise TNLayersError(
        f"There is no picture of {type(thing).__name__!r}. Drawn are specs such as 'mpo(in=4x7, out=2x5, bond=3)', "
        "graphs, layers and plans; a file to write is given as path='picture.svg'."
    )


def _title(known: Sequence[Network | AnyPlan]) -> str:
    plans = [thing for thing in known if not isinstance(thing, Network)]
    if len(plans) == len(known):
        names = list(dict.fromkeys(plan.title or "an einsum" for plan in plans))
        batches = [str(plan.batch) for plan in plans if plan.batch is not None]
        size = f" for batch {_and(batches)}" if batches else ""
        return f"Plan{'s' if len(plans) > 1 else ''} of {_and(names)}{size}"
    return _and([thing.name if isinstance(thing, Network) else f"plan of {thing.title}" for thing in known])


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _network_panels(thing: Network) -> list[Panel]:
    """One panel, or one per term of a sum."""
    if thing.spec is None:
        return [Panel((thing.name, f"{graph.parameters:,} parameters"), network(graph)) for graph in thing.graphs]
    panels = []
    for part, graph in zip(thing.spec.parts, thing.graphs, strict=True):
        caption = (
            f"{part.in_features:,} \u2192 {part.out_features:,}, {graph.parameters:,} parameters"
            f"{' and a bias' if part.bias else ''}, rho = {graph.parameters / part.dense_parameters:.3g}"
        )
        prefix = _prefix(part, graph) if thing.spec.terms else ""
        if prefix:
            caption += f"; cores {prefix}*"
        panels.append(Panel((_whole(part), caption), network(graph, prefix)))
    return panels


def _whole(part: Spec) -> str:
    """The spec, with its bond or rank where that is the type's default and so left out of the text."""
    keywords = network_type(part.network).keywords
    missing = [name for name in ("bond_dim", "rank") if name in keywords and name not in dict(part.options)]
    if not missing or keywords[missing[0]] is Parameter.empty:
        return str(part)
    return f"{str(part)[:-1]}, {missing[0].removesuffix('_dim')}={keywords[missing[0]]})"


def _prefix(part: Spec, graph: Graph) -> str:
    """What the names of a term's cores begin with: its type, and a number where another term has the same."""
    found = re.match(rf"{part.network}\d*_", graph.cores[0].name)
    return found[0] if found else ""


def _plan_panel(plan: Plan, tops: Sequence[int], lengths: Sequence[int]) -> Panel:
    """The tree over the timeline, columns aligned; for training both passes below."""
    tree, bars = contraction(plan), timeline(plan, tops)
    below = bars.moved(0, tree.box[3] + HEIGHT / 2)
    drawing = Group(shapes=(tree, below))
    if plan.objective == "training":
        drawing = Group(shapes=(*drawing.shapes, passes(plan, lengths).moved(0, below.box[3] + 22)))
    batch = "" if plan.batch is None else f", batch {plan.batch}"
    chunk = "" if plan.chunk is None else f", {plan.chunk} rows at a time"
    cost, dense = plan.cost, plan.dense
    caption = [
        f"forward: {amount(cost.flops)} flops, {byte_text(cost.bytes)} moved, {byte_text(cost.kept)} saved for backward"
    ]
    if dense is not None:
        caption.append(beside_dense(cost, dense))
    first = f"{plan.title or 'einsum'}{batch}"
    return Panel((first, f"{plan.dtype}, {order_text(plan)}{chunk}", *caption), drawing)
