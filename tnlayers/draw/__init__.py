"""Pictures: the tensor-network diagram of a layer, and the contraction tree and timeline of a plan.

Pictures are SVG, written here; PNG and PDF are painted by matplotlib (`pip install tnlayers[viz]`). Layouts come from
the graph alone, so networks of your own are drawn like the built-in ones. The modules, from what is drawn to the file:

    wiring -> levels, figures -> placement -> room, routing -> network      a graph's diagram
    steps -> contraction, timeline                                          a plan
    panels -> page -> picture -> svg, raster                                side by side, and written
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from tnlayers.declare.pictures import draw_with

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture
    from tnlayers.draw.theme import Theme


def draw(*things: Any, path: str | PathLike[str] | None = None, theme: Theme = "auto") -> Picture:
    """Draw layers and plans; several stand side by side, plans on one scale.

    A layer is drawn as its network: cores as discs (larger with more parameters), bonds as lines (wider with their
    dimension), input modes below, output modes above, hyperedges as dots. A plan is drawn as its contraction tree over
    a timeline of its steps: flops, bytes moved and memory in use.

    Args:
        *things: Specs or their strings, graphs, layers of any backend, plans.
        path: Also write the picture to this .svg, .html, .png or .pdf file.
        theme: "light", "dark", or "auto": light, and dark where the reader prefers it (SVG and HTML only).

    Returns:
        A picture that notebooks show; `.svg` is its text, `.save(path)` writes it.

    Raises:
        TNLayersError: If something is none of these, a template without sizes, or the path has another suffix.

    Example:
        >>> import tnlayers as tnl
        >>> from tnlayers.draw import draw  # the same as tnl.draw
        >>> draw("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)").svg[:4]
        '<svg'
        >>> once, often = (tnl.plan("mpo(in=28x28, out=16x16, bond=8)", batch) for batch in (1, 128))
        >>> draw(once, often, theme="dark")
        Picture('Plans of mpo(in=28x28, out=16x16, bond=8) for batch 1 and 128')
    """
    from tnlayers.draw.panels import picture

    made = picture(things, theme)
    if path is not None:
        made.save(path)
    return made


def _html(thing: Any) -> str:
    from tnlayers.draw.display import html

    return html(thing)


draw_with(draw, _html)

__all__ = ["draw"]
