"""Orders of features that a search found: which input the network reads at each place, and where it writes each output.

They are integer buffers of the layer: saved with it, moved with it, no parameters. A layer without has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.module import TNModule

NAMES = {"in_order": "in_features", "out_place": "out_features"}  # of which the buffers are orders


def set_orders(layer: TNModule, in_order: Sequence[int] | None, out_order: Sequence[int] | None) -> None:
    """Give a layer the orders of a decomposition.

    Args:
        layer: Without orders so far.
        in_order: Which input feature the network reads at each place.
        out_order: Which output feature it writes at each place; stored as its inverse, which is what `forward` needs.
    """
    device = next(layer.parameters()).device
    if in_order is not None:
        layer.in_order = torch.tensor(in_order, dtype=torch.int32, device=device)
    if out_order is not None:
        layer.out_place = torch.tensor(out_order, device=device).argsort().to(torch.int32)


def reordered(x: Tensor, order: Tensor | None) -> Tensor:
    """The last axis in an order; vectors of another length are left for the layer to refuse."""
    if order is None or x.ndim == 0 or x.shape[-1] != order.shape[0]:
        return x
    return x.index_select(-1, order)


def unordered(matrix: Tensor, in_order: Tensor | None, out_place: Tensor | None) -> Tensor:
    """The network's own matrix, (out, in), as the weight of features in their usual order."""
    if in_order is not None:
        matrix = matrix.index_select(1, in_order.argsort())
    return matrix if out_place is None else matrix.index_select(0, out_place)


def check_orders(layer: TNModule) -> None:
    """Refuse orders, perhaps of a file, that are none.

    Raises:
        TNLayersError: If a feature is missing.
    """
    for name, features in NAMES.items():
        order, size = getattr(layer, name), getattr(layer.spec, features)
        if order is None or order.is_meta:
            continue
        if tuple(order.shape) != (size,) or not torch.equal(order.long().sort().values.cpu(), torch.arange(size)):
            raise TNLayersError(f"{name!r} is no order of the {size} features of {str(layer.spec)[:120]}.")
