"""A finished picture: a scene with its size, theme and words, that shows and writes itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from tnlayers.draw.raster import save_raster
from tnlayers.draw.scene import Group, Point, groups
from tnlayers.draw.svg import to_svg
from tnlayers.draw.theme import Theme
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text

SUFFIXES = (".svg", ".html", ".png", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What `tnl.draw` returns. Notebooks show it; elsewhere it prints as its title.

    Attributes:
        scene: The shapes.
        size: Width and height in pixels.
        theme: "light", "dark" or "auto".
        title: The picture's name.
        description: What it shows, in words.
    """

    scene: Group = field(repr=False)
    size: Point
    theme: Theme
    title: str
    description: str

    @cached_property
    def svg(self) -> str:
        """The picture as SVG."""
        return to_svg(self.scene, self.size, self.theme, self.title, self.description)

    @property
    def html(self) -> str:
        """The picture as a page of its own, with nothing to load."""
        return (
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(self.title)}</title>\n<body>\n{self._repr_html_()}\n</body>\n</html>\n"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture as the path's suffix says: .svg, .html, .png or .pdf.

        Raises:
            TNLayersError: If the suffix is another, the file cannot be written, or matplotlib is needed and absent.
        """
        file = Path(path)
        if file.suffix not in SUFFIXES:
            raise TNLayersError(
                f"Pictures are written as {', '.join(SUFFIXES)}; {str(path)!r} ends in {file.suffix or 'no suffix'!r}. "
                f"Name it {file.stem}.svg, for one."
            )
        try:
            if file.suffix in (".png", ".pdf"):
                save_raster(file, self.scene, self.size, self.theme)
            else:
                write_text(file, self.svg if file.suffix == ".svg" else self.html)
        except OSError as error:
            raise TNLayersError(f"The picture cannot be written to {path}: {error.strerror or error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain data: each thing drawn with its name, sizes and box (left, top, right, bottom)."""
        items = [
            {"kind": group.kind, "title": group.title, **group.data, "box": [round(edge, 1) for edge in group.box]}
            for group in groups(self.scene)
            if group.title
        ]
        return {"title": self.title, "description": self.description, "size": list(self.size), "items": items}

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"Picture({self.title!r})"
