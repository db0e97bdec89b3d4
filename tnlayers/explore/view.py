"""An order under way as a picture, and its prices as a table, for notebooks."""

from __future__ import annotations

from html import escape

from tnlayers.draw.network import Looks, drawn
from tnlayers.draw.picture import Picture
from tnlayers.draw.routing import route
from tnlayers.draw.steps import byte_text
from tnlayers.draw.wiring import Wiring
from tnlayers.explore.order import Order
from tnlayers.explore.prices import DTYPE, Price, total
from tnlayers.explore.stage import operand_places, stage_graph, stage_places
from tnlayers.planning.lowered import ITEMSIZES
from tnlayers.planning.text import amount
from tnlayers.pricing.counts import dense_cost

_MARGIN = 16.0
_CELL = 'style="text-align:right;padding:1px 10px"'


def picture(order: Order, chosen: str | None = None) -> Picture:
    """What is left of the network: orange carries the batch, a thick outline is chosen.

    Args:
        order: The order under way.
        chosen: The name of the thing that is to be contracted with another.
    """
    graph, left = order.spec.graph, order.left
    wiring = Wiring(stage_graph(graph, left))
    places = stage_places(order.contraction, left, wiring, operand_places(graph))
    looks: dict[str, Looks] = {
        name: ("paper", "batch", 3.0) for name, members in zip(left.names, left.members, strict=True) if 0 in members
    }
    if chosen is not None:
        looks[chosen] = (looks.get(chosen, ("core",))[0], "output", 5.0)
    scene = drawn(wiring, places, route(wiring, places), looks, graph.inputs)
    x, y, right, bottom = scene.box
    return Picture(
        scene=scene.moved(_MARGIN - x, _MARGIN - y),
        size=(right - x + 2 * _MARGIN, bottom - y + 2 * _MARGIN),
        theme="auto",
        title=f"{order.spec}, batch {order.batch}: step {order.at}",
        description=f"Left are {', '.join(left.names)}.",
    )


def totals_html(order: Order, best: Order) -> str:
    """The price of the steps carried out beside that of the planner's whole order and of the dense layer."""
    made = order.spec
    dense = dense_cost(made.in_features, made.out_features, order.batch, ITEMSIZES[DTYPE])
    shown, planner = total(order.prices()), total(best.walked(len(best.path)).prices())
    layer = Price(flops=dense.flops, bytes=dense.bytes, largest=dense.result, memory=dense.result)
    head = "".join(f"<th {_CELL}>{text}</th>" for text in ("", _whose(order), "planner's", "ratio", "dense layer"))
    rows = ""
    for name, field, told in (
        ("flops", "flops", amount),
        ("bytes moved", "bytes", byte_text),
        ("largest intermediate", "largest", byte_text),
        ("memory at once", "memory", byte_text),
    ):
        mine, theirs, full = (getattr(price, field) for price in (shown, planner, layer))
        ratio = f"&times; {mine / theirs:.3g}" if mine and theirs else ""
        cells = "".join(f"<td {_CELL}>{text}</td>" for text in (told(mine), told(theirs), ratio, told(full)))
        rows += f"<tr><td>{name}</td>{cells}</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _whose(order: Order) -> str:
    done = order.complete and order.at == len(order.path)
    return "on view" if done else f"after step {order.at}"


def steps_html(order: Order) -> str:
    """The steps, each with its price; those that are not carried out yet in grey."""
    contraction = order.contraction
    names = [*contraction.names, *(f"step {k + 1}" for k in range(len(order.path)))]
    prices = order.walked(len(order.path)).prices()
    alone = len(prices) - len(order.path)
    pairs = [f"{k + 1}: {names[a]} &middot; {names[b]}" for k, (a, b) in enumerate(order.path)]
    texts = ["first: one operand alone"] * alone + pairs
    head = "".join(f"<th {_CELL}>{text}</th>" for text in ("step", "flops", "bytes moved", "memory at once"))
    rows = ""
    for number, (text, price) in enumerate(zip(texts, prices, strict=True)):
        told = amount(price.flops), byte_text(price.bytes), byte_text(price.memory)
        cells = "".join(f"<td {_CELL}>{cell}</td>" for cell in told)
        grey = ' style="opacity:0.5"' if number - alone >= order.at else ""
        rows += f"<tr{grey}><td>{text}</td>{cells}</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"


def message_html(text: str) -> str:
    """A refusal, for the reader."""
    return f"<b>{escape(text)}</b>" if text else ""
