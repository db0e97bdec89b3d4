"""Pictures of specs, plans and spectra, which lie below the package that draws them.

`tnlayers.draw` knows these values, so they cannot import it: it gives its functions to `draw_with` when it is imported,
as `import tnlayers` does.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, Protocol


class Picture(Protocol):
    """A finished picture, which notebooks show."""

    @property
    def svg(self) -> str:
        """The picture as the text of an SVG file."""

    @property
    def html(self) -> str:
        """The picture as a page of its own."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to an .svg, .html, .png or .pdf file."""

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain data."""

    def _repr_html_(self) -> str: ...


_ways: dict[str, Callable[..., Any]] = {}


def draw_with(draw: Callable[..., Picture], html: Callable[[Any], str]) -> None:
    """Use these functions from now on.

    Args:
        draw: Draws a thing, with the options of `tnl.draw`.
        html: What a notebook shows of a thing.
    """
    _ways.update(draw=draw, html=html)


def draw(thing: Any, **options: Any) -> Picture:
    """The picture of a thing; options as for `tnl.draw`."""
    picture: Picture = _ways["draw"](thing, **options)
    return picture


def html(thing: Any) -> str:
    """What a notebook shows of a thing: its picture over a compact table."""
    text: str = _ways["html"](thing)
    return text
