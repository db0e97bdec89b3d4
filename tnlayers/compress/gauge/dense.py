"""The dense layers of a model by name, as gauges need them, with their products in double precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError


def dense_layer(model: nn.Module, name: str) -> nn.Linear:
    """The `nn.Linear` of that name.

    Raises:
        TNLayersError: If there is none.
    """
    try:
        layer = model.get_submodule(name)
    except AttributeError as error:
        raise TNLayersError(f"{type(model).__name__} has no module {name!r}.") from error
    if not isinstance(layer, nn.Linear):
        raise TNLayersError(
            f"{name!r} is a {type(layer).__name__}. Coordinates are changed in nn.Linear layers: do it before they "
            "become networks."
        )
    return layer


def multiply_(weight: Tensor, left: Tensor | None = None, right: Tensor | None = None) -> None:
    """A weight becomes left @ weight @ right, computed in double precision."""
    wide = weight.detach().double()
    wide = wide if left is None else left.double() @ wide
    wide = wide if right is None else wide @ right.double()
    with torch.no_grad():
        weight.copy_(wide)


def check_orthogonal(rotation: Tensor, size: int, what: str) -> None:
    """Refuse what is no orthogonal matrix of a size.

    Raises:
        TNLayersError: If it is none.
    """
    if tuple(rotation.shape) != (size, size):
        raise TNLayersError(f"{what}: a rotation of shape {tuple(rotation.shape)} for {size} features.")
    wide = rotation.double()
    off = float((wide @ wide.T - torch.eye(size, dtype=torch.float64, device=wide.device)).abs().max())
    if not off < 1e-5:
        raise TNLayersError(
            f"{what}: the matrix is off by {off:.2g} from an orthogonal one, and would change what the model computes. "
            "Take Q of torch.linalg.qr in double precision."
        )
