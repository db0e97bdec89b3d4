"""The explorer: change what is contracted with what, and see the price beside the planner's.

One front end (the .js files, `explorer.html`, `explorer.css`) has two homes. In a notebook the planner is live behind
it (`widget.py`); a page (`page.py`) has plans computed beforehand for a stated grid (`grid.py`, `data.py`). It
prices orders picked by hand itself, with the counts that follow from an order alone (`prices.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from tnlayers.declare.arguments import checks_arguments

if TYPE_CHECKING:
    from tnlayers.explore.widget import Explorer


@checks_arguments()
def explore(
    thing: Any,
    shapes: Sequence[Sequence[int]] | None = None,
    batch: int = 1,
    *,
    path: str | PathLike[str] | None = None,
) -> Explorer | None:
    """Explore a contraction, in a notebook or as a page.

    Choose network type, bond, batch size, objective, optimizer and memory limit, step through the planner's order, or
    pick the next two operands yourself and see flops, bytes and memory beside the planner's.

    Args:
        thing: A sized spec or its string (a sum has one part per term), a graph, a layer (a convolution is explored as
            its kernel's matrix on unfolded windows), a torch model with such layers in it, or an einsum equation.
        shapes: The shape of each operand of an equation.
        batch: The batch size to begin with.
        path: Write a page to this .html file, with plans for a grid of choices, as `tnlayers explore` does.

    Returns:
        A widget that notebooks show; its `.plan` is the order on view as a `Plan`, for `layer.use_plan`. None with a
        path.

    Raises:
        TNLayersError: If there is nothing to explore in it, a spec has no sizes, the batch is not positive, the page
            cannot be written, or anywidget is not installed (`pip install tnlayers[viz]`; pages need nothing).

    Example:
        >>> import tnlayers as tnl
        >>> explorer = tnl.explore("mpo(in=4x7, out=2x5, bond=3)", batch=8)
        >>> for name in ("core_0", "core_1", "x", "step 1"):  # as four clicks would
        ...     explorer.pick(name)
        >>> explorer.plan.path
        ((1, 2), (0, 3))
    """
    if path is not None:
        from tnlayers.explore.data import page_data
        from tnlayers.explore.grid import BATCHES, make_grid
        from tnlayers.explore.page import check_target, save_page

        check_target(path)
        grid = make_grid(thing, shapes=shapes, batches=None if batch in BATCHES else [*BATCHES, batch])
        save_page(page_data(grid) | {"batch": batch}, path)
        return None
    from tnlayers.explore.widget import Explorer

    return Explorer(thing, shapes, batch=batch)


__all__ = ["explore"]
