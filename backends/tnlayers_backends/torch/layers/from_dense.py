"""The weight of a dense module as a network of a layer: one way for linear layers, convolutions and embeddings.

Each layer kind says how its module's weight is a matrix in the layer's own order of features; the rest is
`tnlayers.compress.decompose`, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tnlayers.declare.spec import Spec
from tnlayers.decompose.decomposition import Decomposition, decompose
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.module import TNModule

_Layer = TypeVar("_Layer", bound=TNModule)
_SIZES = ("bond_dim", "max_params", "ratio", "error")
_OPTIONS = ("covariance", "error_of", "search", "orders", "sweeps", "restarts", "seed")


def divided(
    keywords: Mapping[str, Any], moment: Callable[[], Tensor] | None, *, orders: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of `decompose`, and those of the network type.

    Args:
        keywords: Both together.
        moment: Computes the second moment of the inputs from a sample; None without one.
        orders: Whether the layer can have orders of features that a search finds.

    Raises:
        TNLayersError: If there are both a sample and a covariance, or orders are asked of a layer without.
    """
    options = {key: value for key, value in keywords.items() if key in _OPTIONS}
    if not orders and options.setdefault("orders", False):
        raise TNLayersError("orders=True: only linear layers have orders of their features; leave it out here.")
    if moment is not None:
        if options.get("covariance") is not None:
            raise TNLayersError("sample= and covariance= were given together; the covariance is that of the sample.")
        options["covariance"] = moment()
    return options, {key: value for key, value in keywords.items() if key not in _OPTIONS}


def decomposed(matrix: Tensor, network: Spec, **asked: Any) -> Decomposition:
    """A weight in the layer's own order of features, decomposed in double precision.

    Args:
        matrix: Of shape (out_features, in_features), real or complex, of any precision.
        network: A template or a sized spec.
        **asked: As `decompose` takes them.

    Raises:
        TNLayersError: As `decompose`.
    """
    wide = matrix.detach().to(torch.promote_types(matrix.dtype, torch.float64))
    return decompose(wide, network, **asked)


@torch.no_grad()
def converted(
    make: Callable[..., _Layer],
    matrix: Tensor,
    bias: Tensor | None,
    template: Callable[..., Spec],
    asked: Mapping[str, Any],
    moment: Callable[[], Tensor] | None = None,
) -> _Layer:
    """The layer that comes closest to a dense module.

    Args:
        make: Makes it, with `network`, `device`, `dtype` and `seed`.
        matrix: The dense module's weight as (out_features, in_features).
        bias: Its bias.
        template: The network with the module's modes, from the keywords of the network type.
        asked: What `decompose` takes, and the network type's own keywords.
        moment: Computes the second moment of the inputs from a sample; None without one.

    Raises:
        TNLayersError: As `decompose`.
    """
    sizes = {key: asked.get(key) for key in _SIZES}
    options, own = divided(
        {key: value for key, value in asked.items() if key not in (*_SIZES, "strict")}, moment, orders=False
    )
    found = decomposed(matrix, template(**own), strict=bool(asked.get("strict")), **sizes, **options)
    layer = make(network=found.spec, device=matrix.device, dtype=matrix.dtype, seed=0)
    return filled(layer, found, bias)


@torch.no_grad()
def filled(layer: _Layer, found: Decomposition, bias: Tensor | None) -> _Layer:
    """The layer with the cores that were found and the dense module's bias, and what was delivered."""
    for name, core in layer.cores.items():
        core.copy_(found.cores[name])
    if layer.bias is not None and bias is not None:
        layer.bias.copy_(bias)
    layer.delivered = replace(found, cores={})
    return layer
