"""The explorer as one HTML file: the data, the programs and the style are all in it, and nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from tnlayers.draw.theme import COLOURS
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text

LIMIT = 2_000_000  # bytes of a page
SCRIPTS = ("price.js", "order.js", "routing.js", "diagram.js", "tables.js", "charts.js", "explorer.js")


def page(data: Mapping[str, Any]) -> str:
    """The page that shows what `page_data` made.

    Raises:
        TNLayersError: If it would be larger than 2 MB.

    Example:
        >>> from tnlayers.explore.data import page_data
        >>> from tnlayers.explore.grid import make_grid
        >>> text = page(page_data(make_grid("lowrank(in=8, out=4, rank=2)", batches=[1], bonds=[2], networks=[])))
        >>> text[:15], "http://www.w3.org/2000/svg" in text, "src=" in text
        ('<!doctype html>', True, False)
    """
    parts = {
        "title": escape(str(data["title"])),
        "style": style(),
        "body": file_text("explorer.html"),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script(),
    }
    text = file_text("page.html")
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part, 1)
    size = len(text.encode())
    if size > LIMIT:
        kinds = [network for part in data["parts"] for network in part["networks"]]
        plans = sum(len(bond["plans"]) for network in kinds for bond in network["bonds"])
        raise TNLayersError(
            f"The page would have {size:,} bytes with its {plans:,} plans, and pages are kept below {LIMIT:,}. Choose "
            "fewer batch sizes, bonds, networks or optimizers: --batch, --bond, --network, --optimize."
        )
    return text


def save_page(data: Mapping[str, Any], path: str | PathLike[str]) -> int:
    """Write the page to an .html file, and return its size in bytes.

    Raises:
        TNLayersError: If the path has another suffix, cannot be written, or the page is too large.
    """
    file = check_target(path)
    text = page(data)
    try:
        write_text(file, text)
    except OSError as error:
        raise TNLayersError(f"The page cannot be written to {path}: {error.strerror or error}.") from error
    return len(text.encode())


def check_target(path: str | PathLike[str]) -> Path:
    """Refuse a path that no page can be written to, before the work is done.

    Raises:
        TNLayersError: If it does not end in .html, or its folder does not exist.
    """
    file = Path(path)
    if file.suffix != ".html":
        raise TNLayersError(f"The explorer is written as .html, not as {str(file)!r}: name it {file.stem}.html.")
    if not file.parent.is_dir():
        raise TNLayersError(f"The page cannot be written to {file}: there is no folder {file.parent}.")
    return file


def file_text(name: str) -> str:
    """A file of the front end."""
    return files("tnlayers.explore").joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """The front end's scripts, in the order in which they need each other."""
    return "\n".join(map(file_text, SCRIPTS))


def style() -> str:
    """The style, with the colours of all pictures as variables, each light and dark."""
    colours = "".join(f"--{role}:light-dark({a},{b});" for role, (a, b) in COLOURS.items())
    return f":root, :host {{{colours}}}\n{file_text('explorer.css')}"
