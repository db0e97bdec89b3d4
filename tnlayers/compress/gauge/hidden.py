"""Orders of the hidden features between two layers: free where the function between them is applied to each alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tnlayers.compress.gauge.dense import dense_layer
from tnlayers.decompose.seriation import spectral_order
from tnlayers.errors import TNLayersError


def covariance_order(moment: Tensor) -> Tensor:
    """Features in an order in which neighbours vary together: the Fiedler vector of the sizes of their correlations.

    Args:
        moment: E[x x^T] of the features, (n, n).

    Returns:
        Which feature comes at each place, (n,) int64.

    Raises:
        TNLayersError: If it is no square matrix.

    Example:
        >>> import torch
        >>> alike = torch.tensor([[1, 0.1, 0.9, 0.1], [0.1, 1, 0.1, 0.9], [0.9, 0.1, 1, 0.1], [0.1, 0.9, 0.1, 1]])
        >>> order = covariance_order(alike).tolist()
        >>> {*order[:2]} in ({0, 2}, {1, 3})
        True
    """
    if moment.ndim != 2 or moment.shape[0] != moment.shape[1]:
        raise TNLayersError(f"A second moment is a square matrix; this has shape {tuple(moment.shape)}.")
    return torch.from_numpy(spectral_order(np.array(moment.tolist())))


def reorder_hidden_(model: nn.Module, first: str, second: str, order: Tensor) -> None:
    """Put the features between two layers into another order, in place; the outputs stay.

    Args:
        model: A dense model, which applies a function to each of these features alone, and nothing else reads them.
        first: The layer that writes them.
        second: The layer that reads them.
        order: Which feature comes at each place, (features,).

    Raises:
        TNLayersError: If a layer is no `nn.Linear`, the sizes differ, or the order is none.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> x = torch.randn(5, 3)
        >>> before = model(x)
        >>> reorder_hidden_(model, "0", "2", torch.tensor([2, 0, 3, 1]))
        >>> bool(torch.allclose(model(x), before, atol=1e-6))
        True
    """
    one, other = dense_layer(model, first), dense_layer(model, second)
    count = one.out_features
    if other.in_features != count or sorted(order.tolist()) != list(range(count)):
        raise TNLayersError(
            f"{first!r} writes {count} features, {second!r} reads {other.in_features}: the order, of {len(order)} "
            "entries, must have each feature between them once."
        )
    with torch.no_grad():
        one.weight.copy_(one.weight[order])
        if one.bias is not None:
            one.bias.copy_(one.bias[order])
        other.weight.copy_(other.weight[:, order])
