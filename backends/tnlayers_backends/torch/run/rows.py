"""Rows of a table through slices of its cores: what each id takes from every core."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from tnlayers.cores.lookup import Slices, strides
from tnlayers.declare.graph import Graph
from tnlayers.errors import TNLayersError


def operands(ids: Tensor, graph: Graph, cut: Sequence[Slices], cores: Sequence[Tensor]) -> list[Tensor]:
    """The slices of every core for every id, and the one-hot vectors of modes that the output has as well."""
    sizes = graph.in_modes
    digits = [ids // step % size for step, size in zip(strides(sizes), sizes, strict=True)]
    digits[0] = ids // strides(sizes)[0]  # not wrapped: an id beyond all modes is out of range for its core
    operands = [_slice(core, part, digits) for core, part in zip(cores, cut, strict=True)]
    for index in graph.shared:
        digit = digits[graph.inputs.index(index)]
        places = torch.arange(graph.sizes[index], device=ids.device)
        operands.append((digit[:, None] == places).to(cores[0].dtype))
    return operands


def _slice(core: Tensor, part: Slices, digits: Sequence[Tensor]) -> Tensor:
    """The core at the digits of each id: (ids, *kept axes). Axes chosen along together are one axis."""
    if not part.axes:
        return core
    chosen = [core.shape[k] for k in part.axes]
    place = sum(digits[mode] * step for mode, step in zip(part.modes, strides(tuple(chosen)), strict=True))
    assert isinstance(place, Tensor)
    rows = core.permute(*part.axes, *part.kept).reshape(prod(chosen), *(core.shape[k] for k in part.kept))
    return rows.index_select(0, place)


def check_range(ids: Tensor, rows: int) -> None:
    """Refuse ids of no row.

    Raises:
        TNLayersError: With the id and how many rows there are.
    """
    if ids.numel():
        low, high = (int(end) for end in torch.aminmax(ids))
        if low < 0 or high >= rows:
            raise TNLayersError(
                f"Id {low if low < 0 else high} is out of range: the table has {rows} rows, 0 to {rows - 1}."
            )
