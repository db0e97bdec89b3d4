"""A scene as SVG: vector shapes, text as text, a title and a description for those who cannot see it.

Colours stand on every shape, so all programs show the light or the dark picture. The theme "auto" adds a style sheet
that swaps them where the reader prefers dark; its rules begin with the picture's own id, so that pictures in one
notebook leave each other and the page alone.
"""

from __future__ import annotations

import hashlib
from xml.sax.saxutils import escape, quoteattr

from tnlayers.draw.scene import Circle, Group, Line, Point, Rectangle, Shape, Text
from tnlayers.draw.theme import COLOURS, Theme, colour

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"


def to_svg(scene: Group, size: Point, theme: Theme, title: str, description: str) -> str:
    """Write a scene whose shapes lie within (0, 0) and `size`.

    Args:
        scene: The shapes.
        size: Width and height.
        theme: "light", "dark", or "auto" for light with dark where the reader prefers it.
        title: The picture's name.
        description: What it shows, in sentences.
    """
    width, height = (f"{n:.0f}" for n in size)
    background = Rectangle(at=(0, 0), size=size, fill="paper")
    body = "\n".join(_shape(shape, theme) for shape in (background, *scene.shapes))
    key = "tnl-" + hashlib.sha256((title + description + body).encode()).hexdigest()[:10]
    style = f"<style>{_dark_rules(key)}</style>\n" if theme == "auto" else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{key}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="{key}-title {key}-desc" '
        f"font-family={quoteattr(FONT)}>\n"
        f'<title id="{key}-title">{escape(title)}</title>\n<desc id="{key}-desc">{escape(description)}</desc>\n'
        f"{style}{body}\n</svg>\n"
    )


def _dark_rules(key: str) -> str:
    rules = "".join(
        f"#{key} .f-{role}{{fill:{dark}}}#{key} .s-{role}{{stroke:{dark}}}" for role, (_, dark) in COLOURS.items()
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def _shape(shape: Shape, theme: Theme) -> str:
    match shape:
        case Circle(centre=(x, y), radius=radius):
            return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"{_paint(shape, theme)}/>'
        case Rectangle(at=(x, y), size=(width, height), corner=corner):
            corners = f' rx="{_n(corner)}"' if corner else ""
            box = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
            return f"<rect {box}{corners}{_paint(shape, theme)}/>"
        case Line(points=points, cubic=cubic):
            return f'<path d="{_path(points, cubic)}"{_paint(shape, theme)}/>'
        case Text(at=(x, y), text=text, size=size, anchor=anchor, bold=bold):
            # 0.35 em below the middle is the baseline; dominant-baseline is not known everywhere.
            place = f'x="{_n(x)}" y="{_n(y + 0.35 * size)}" font-size="{_n(size)}"'
            looks = f' text-anchor="{anchor}"' + (' font-weight="600"' if bold else "")
            return f"<text {place}{looks}{_paint(shape, theme)}>{escape(text)}</text>"
        case Group(shapes=shapes, kind=kind, title=title, data=data):
            facts = "".join(f" data-{key}={quoteattr(value)}" for key, value in data.items())
            title_tag = f"<title>{escape(title)}</title>" if title else ""
            inner = "".join(_shape(each, theme) for each in shapes)
            return f'<g class="{kind}"{facts}>{title_tag}{inner}</g>'


def _paint(shape: Circle | Rectangle | Line | Text, theme: Theme) -> str:
    """Fill and stroke as attributes, and as classes where a style sheet may change them."""
    fill = "" if isinstance(shape, Line) else shape.fill
    stroke = shape.stroke if isinstance(shape, Circle | Line) else ""
    text = f' fill="{colour(fill, theme)}"' if fill else ' fill="none"'
    if isinstance(shape, Circle | Line) and stroke:
        text += f' stroke="{colour(stroke, theme)}" stroke-width="{_n(shape.width)}"'
    if theme == "auto":
        text += (
            ' class="' + " ".join(name for role, name in ((fill, f"f-{fill}"), (stroke, f"s-{stroke}")) if role) + '"'
        )
    return text


def _path(points: tuple[Point, ...], cubic: bool) -> str:
    texts = [f"{_n(x)} {_n(y)}" for x, y in points]
    return f"M{texts[0]}" + (f"C{' '.join(texts[1:])}" if cubic else "".join(f"L{text}" for text in texts[1:]))


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
