"""A scene as PNG or PDF, painted by matplotlib: shape by shape, at the same coordinates as in the SVG."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from tnlayers.draw.scene import Circle, Group, Line, Point, Rectangle, Shape, Text
from tnlayers.draw.theme import Theme, colour
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS = 72  # matplotlib's points per inch: at this resolution one unit of a scene is one point, widths and fonts alike


def save_raster(path: FilePath, scene: Group, size: Point, theme: Theme) -> None:
    """Write a scene to a .png (two pixels per unit) or .pdf file.

    Args:
        path: The file to write.
        scene: The shapes.
        size: Width and height of the picture.
        theme: "auto" is light here: these files cannot ask their reader.

    Raises:
        TNLayersError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TNLayersError(
            f"Writing {path.name} needs matplotlib, which is not installed: pip install tnlayers[viz]. SVG and HTML "
            "need nothing."
        ) from error
    figure = Figure(figsize=(size[0] / _DOTS, size[1] / _DOTS), facecolor=colour("paper", theme))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)  # downwards, as in the scene
    _paint(axes, scene, theme)
    # Dates would make two pictures of one plan differ.
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=2 * _DOTS, facecolor=figure.get_facecolor(), metadata=metadata)


def _paint(axes: Axes, shape: Shape, theme: Theme) -> None:
    from matplotlib.patches import Circle as Disc
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path

    match shape:
        case Group(shapes=shapes):
            for inner in shapes:
                _paint(axes, inner, theme)
        case Circle(centre=centre, radius=radius, fill=fill, stroke=stroke, width=width):
            looks = {"facecolor": colour(fill, theme), "edgecolor": colour(stroke, theme), "linewidth": width}
            axes.add_patch(Disc(centre, radius, zorder=2, **looks))
        case Rectangle(at=at, size=(width, height), fill=fill, corner=corner):
            style = f"round,pad=0,rounding_size={corner}"
            axes.add_patch(FancyBboxPatch(at, width, height, style, fc=colour(fill, theme), lw=0, zorder=2))
        case Line(points=points, stroke=stroke, width=width, cubic=cubic):
            codes = [Path.MOVETO] + [Path.CURVE4 if cubic else Path.LINETO] * (len(points) - 1)
            line = Path(points, codes)
            axes.add_patch(PathPatch(line, fc="none", ec=colour(stroke, theme), lw=width, zorder=2, capstyle="butt"))
        case Text(at=(x, y), text=text, size=size, fill=fill, anchor=anchor, bold=bold):
            side = {"start": "left", "middle": "center", "end": "right"}[anchor]
            weight = "bold" if bold else "normal"
            looks = {"color": colour(fill, theme), "fontsize": size, "fontweight": weight}
            axes.text(x, y + 0.35 * size, text, looks, ha=side, va="baseline", zorder=3, parse_math=False)
