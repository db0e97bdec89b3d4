"""What a notebook shows of specs, layers and plans: the picture over a compact table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tnlayers.cores.facade import Facade
from tnlayers.declare.spec import Spec
from tnlayers.draw.panels import picture
from tnlayers.draw.steps import byte_text
from tnlayers.planning.text import amount

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph
    from tnlayers.planning.plan import AnyPlan

_CELL = 'style="text-align:left;padding:2px 10px"'


def html(thing: Spec | Facade[Any] | AnyPlan) -> str:
    """The network of a spec or a layer, or a plan's tree and timeline, over a compact table."""
    if isinstance(thing, Facade):  # whose graphs are at hand where its network type is not declared
        return network_html(thing.spec, thing._network().graphs, thing)
    return network_html(thing, thing.graphs, thing) if isinstance(thing, Spec) else plan_html(thing)


def network_html(spec: Spec, graphs: Sequence[Graph], thing: Any) -> str:
    """A layer's network and its numbers.

    Args:
        spec: The declaration.
        graphs: Its graphs.
        thing: What `tnl.draw` draws of it.
    """
    parameters = sum(graph.parameters for graph in graphs)
    rows = [
        ("features", f"{spec.in_features:,} \u2192 {spec.out_features:,}"),
        ("cores", str(sum(len(graph.cores) for graph in graphs))),
        ("parameters", f"{parameters:,} of {spec.dense_parameters:,}, rho = {parameters / spec.dense_parameters:.4g}"),
        ("bias", "yes" if spec.bias else "no"),
    ]
    return _html(thing, [*rows, *(("note", note) for note in spec.notes)])


def plan_html(plan: AnyPlan) -> str:
    """A plan's tree and timeline, and its totals beside the dense layer."""
    rows: list[tuple[str, ...]] = [("", "this plan", "dense layer")] if plan.dense is not None else [("", "this plan")]
    for name, write_value, field in (
        ("flops", amount, "flops"),
        ("bytes moved", byte_text, "bytes"),
        ("saved for backward", byte_text, "kept"),
    ):
        costs = (plan.cost, plan.dense) if plan.dense is not None else (plan.cost,)
        rows.append((name, *(write_value(getattr(cost, field)) for cost in costs)))
    return _html(plan, rows)


def _html(thing: Any, rows: Sequence[tuple[str, ...]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td {_CELL}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div>{picture((thing,), 'auto')._repr_html_()}<table>{lines}</table></div>"
