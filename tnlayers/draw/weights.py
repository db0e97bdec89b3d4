"""A weight before and after truncation, and what was lost: three maps of the sizes of its entries on one scale."""

from __future__ import annotations

from math import sqrt
from os import PathLike
from typing import TYPE_CHECKING, Any

from tnlayers.draw.page import Panel, paged
from tnlayers.draw.scene import Group, Rectangle, Shape, Text
from tnlayers.draw.theme import HEAT
from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers.draw.picture import Picture

_CELLS = 48  # along the longer side: a cell of a larger weight is the root mean square of its entries
_SIDE = 240.0


def draw_weights(before: Any, after: Any, *, path: str | PathLike[str] | None = None, theme: str = "auto") -> Picture:
    """Draw a weight, the weight that took its place, and their difference: the root mean square of blocks of entries.

    Args:
        before: The dense weight, (out_features, in_features), an array of any backend on the processor.
        after: The other one, such as `layer.to_dense()`.
        path: Also write the picture to this .svg, .html, .png or .pdf file.
        theme: "light", "dark" or "auto".

    Raises:
        TNLayersError: If they are no matrices of one shape.

    Example:
        >>> import numpy as np
        >>> draw_weights(np.eye(8), np.zeros((8, 8)))
        Picture('Weights before and after, relative error 1')
    """
    import numpy as np

    matrices = [np.asarray(one.detach() if hasattr(one, "detach") else one) for one in (before, after)]
    shapes = [one.shape for one in matrices]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise TNLayersError(
            f"Two weights of one shape (out_features, in_features) are compared; here {shapes[0]} and {shapes[1]}. "
            "Reshape a kernel to (out_channels, -1) first."
        )
    three = [matrices[0], matrices[1], matrices[0] - matrices[1]]
    squares = [float(np.sum(np.abs(one).astype(np.float64) ** 2)) for one in three]
    error = sqrt(squares[2] / squares[0]) if squares[0] else 0.0
    cells = [_cells(np, np.abs(one).astype(np.float64) ** 2) for one in three]
    top = max(max(map(max, rows)) for rows in cells)
    titles = ("before", "after", "difference")
    panels = [
        Panel((name, f"norm {sqrt(square):.4g}"), _map(rows, top))
        for name, square, rows in zip(titles, squares, cells, strict=True)
    ]
    picture = paged(panels, theme, f"Weights before and after, relative error {error:.3g}")
    if path is not None:
        picture.save(path)
    return picture


def _cells(np: Any, squares: Any) -> list[list[float]]:
    """The root mean square of blocks, at most so many along each side."""
    for axis in (0, 1):
        edges = np.linspace(0, squares.shape[axis], min(squares.shape[axis], _CELLS) + 1).astype(int)
        sums = np.add.reduceat(squares, edges[:-1], axis=axis)
        counts = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
        squares = sums / counts
    found: list[list[float]] = np.sqrt(squares).tolist()
    return found


def _map(rows: list[list[float]], top: float) -> Group:
    cell = _SIDE / max(len(rows), len(rows[0]))
    shapes: list[Shape] = []
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            level = min(int(len(HEAT) * value / top), len(HEAT) - 1) if top > 0 else 0
            size = min(cell * 1.1, len(row) * cell - j * cell), min(cell * 1.1, len(rows) * cell - i * cell)
            shapes.append(Rectangle(at=(j * cell, i * cell), size=size, fill=HEAT[level]))  # no seams between them
    shapes += _scale(len(rows) * cell + 14, top)
    return Group(shapes=tuple(shapes), kind="map", title=f"{len(rows)} by {len(rows[0])} blocks, up to {top:.4g}")


def _scale(y: float, top: float) -> list[Shape]:
    shapes: list[Shape] = [Text(at=(0, y + 4), text="0", size=9, anchor="start", fill="muted")]
    shapes += [Rectangle(at=(14 + 12 * k, y), size=(12, 8), fill=role) for k, role in enumerate(HEAT)]
    end = (14 + 12 * len(HEAT) + 6, y + 4)
    return [*shapes, Text(at=end, text=f"{top:.3g} (root mean square)", size=9, anchor="start", fill="muted")]
