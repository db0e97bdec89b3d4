"""The framework-free half of embedding bags: which bag each id is in, and rows taken together bag by bag."""

from __future__ import annotations

from typing import Any, Literal, get_args

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array

BagMode = Literal["sum", "mean", "max"]


def bag_keywords(rows: int, mode: str, padding_idx: int | None, include_last_offset: bool) -> dict[str, Any]:
    """What the form of a bag keeps beside its network.

    Args:
        rows: Of the table.
        mode: What is taken of each bag.
        padding_idx: An id that bags leave out, or None; a negative one counts from the end.
        include_last_offset: Whether the last of the offsets is the number of ids.

    Raises:
        TNLayersError: If the mode is none, or `padding_idx` is no id.

    Example:
        >>> bag_keywords(10, "sum", -1, False)
        {'padding_idx': 9, 'unique': False, 'mode': 'sum', 'include_last_offset': False}
    """
    if mode not in get_args(BagMode):
        raise TNLayersError(f"mode={str(mode)[:60]!r}: bags are reduced by 'sum', 'mean' or 'max'.")
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise TNLayersError(f"padding_idx={padding_idx} is no id: the table has {rows} rows.")
    padding = None if padding_idx is None else padding_idx % rows
    return {"padding_idx": padding, "unique": False, "mode": mode, "include_last_offset": include_last_offset}


def check_bags(what: str, ids: Array, offsets: Array | None, weights: Array | None, mode: str) -> None:
    """Refuse bags that do not fit each other, as `nn.EmbeddingBag` does.

    Raises:
        TNLayersError: With the shapes.
    """
    start = f"{what} got ids of shape {tuple(ids.shape)}"
    if ids.ndim not in (1, 2) or (ids.ndim == 1) != (offsets is not None):
        raise TNLayersError(
            f"{start} {'without' if offsets is None else 'with'} offsets: ids (bags, ids of each) take none, and ids "
            "(n,) take the offsets at which bags begin."
        )
    if weights is not None and (mode != "sum" or tuple(weights.shape) != tuple(ids.shape)):
        raise TNLayersError(
            f"{start} with per_sample_weights of shape {tuple(weights.shape)} in mode {mode!r}: weights are a factor "
            "for each id, of the ids' shape, and only mode='sum' has them."
        )
    integers = offsets is None or str(offsets.dtype).removeprefix("torch.") in ("int64", "int32")
    if offsets is not None and (offsets.ndim != 1 or not integers):
        raise TNLayersError(f"{start} with offsets {offsets.dtype} of shape {tuple(offsets.shape)}, not int64 (bags,).")


def reduced(
    ops: Arithmetic,
    rows: Array,
    ids: Array,
    bags: Array,
    count: int,
    mode: BagMode,
    weights: Array | None = None,
    padding_idx: int | None = None,
) -> Array:
    """The rows of the ids, reduced bag by bag; zeros for an empty bag.

    Args:
        ops: The primitives of the arrays' backend.
        rows: One for each id, (n, features).
        ids: (n,).
        bags: The number of each id's bag, (n,).
        count: How many bags there are.
        mode: What is taken of each bag.
        weights: A factor for each id, in mode "sum".
        padding_idx: An id that bags leave out.
    """
    if padding_idx is not None:
        bags = ops.where(ids == padding_idx, bags * 0 + count, bags)
    if weights is not None:
        rows = rows * weights[:, None]
    if mode == "max":
        return ops.reduce_bags(rows, bags, count, "max")
    total = ops.reduce_bags(rows, bags, count, "sum")
    if mode == "sum":
        return total
    sizes = ops.reduce_bags(ops.zeros((rows.shape[0], 1), rows) + 1, bags, count, "sum")  # (count, 1)
    return total / ops.where(sizes == 0, sizes * 0 + 1, sizes)
