"""The explorer: change what is contracted with what, and see the price beside the planner's.

In a notebook the planner is live (`widget.py`); a page (`page.py`) carries plans computed beforehand for a stated grid
(`grid.py`, `data.py`) and prices orders picked by hand itself, with the counts that follow from an order alone
(`prices.py`). Both draw a contraction under way from the same places (`stage.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.arguments import checks_arguments

if TYPE_CHECKING:
    from tnlayers.declare.spec import Spec
    from tnlayers.explore.widget import Explorer


@checks_arguments()
def explore(spec: str | Spec, batch: int = 1) -> Explorer:
    """Explore the contraction of a layer in a notebook; `tnlayers explore SPEC -o page.html` writes a page instead.

    Choose network type, bond, batch size and optimizer, step through the planner's order, or pick the next two operands
    yourself and see flops, bytes and memory beside the planner's.

    Args:
        spec: A sized spec of one network, or its string.
        batch: The batch size to begin with.

    Returns:
        An ipywidgets box that notebooks show; its `.plan` is the order on view as a `Plan`, for `layer.use_plan`.

    Raises:
        TNLayersError: If the spec has no sizes or is a sum, the batch is not positive, or ipywidgets is not installed
            (`pip install tnlayers[viz]`).

    Example:
        >>> import tnlayers as tnl
        >>> explorer = tnl.explore("mpo(in=4x7, out=2x5, bond=3)", batch=8)
        >>> for name in ("core_0", "core_1", "x", "step 1"):  # as four clicks would
        ...     explorer.pick(name)
        >>> explorer.plan.path
        ((1, 2), (0, 3))
    """
    from tnlayers.explore.widget import Explorer

    return Explorer(spec, batch)


__all__ = ["explore"]
