"""Projections: the linear maps inside a larger layer, each with a network of its own, or dense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import nn

from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.linear import TNLinear

Network: TypeAlias = "str | Spec | None"  # None: a dense `nn.Linear`


def networks_of(names: tuple[str, ...], network: Network, networks: Mapping[str, Network] | None) -> dict[str, Network]:
    """The network of each projection: its own where `networks` has one, else the common one.

    Raises:
        TNLayersError: If `networks` names a projection that does not exist.
    """
    unknown = sorted(set(networks or {}) - set(names))
    if unknown:
        raise TNLayersError(f"networks has {', '.join(unknown)}, but the projections here are {', '.join(names)}.")
    return {name: network for name in names} | dict(networks or {})


def projection(
    in_features: int,
    out_features: int,
    bias: bool,
    network: Network,
    variance: float,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    seed: int | None,
) -> TNLinear | nn.Linear:
    """One linear map, initialised to a variance, its bias uniform within the root of three times that.

    Raises:
        TNLayersError: If the network does not fit the sizes.
    """
    if network is not None:
        return TNLinear(in_features, out_features, bias, device, dtype, network=network, seed=seed, variance=variance)
    dense = nn.Linear(in_features, out_features, bias, device, dtype)
    redraw(dense, variance, seed)
    return dense


def redraw(layer: TNLinear | nn.Linear, variance: float, seed: int | None) -> None:
    """Draw a projection's parameters anew, as `projection` did; a network knows its variance itself."""
    if isinstance(layer, TNLinear):
        layer.reset_parameters(seed)
        return
    bound = (3 * variance) ** 0.5
    generator = None if seed is None else torch.Generator(layer.weight.device).manual_seed(seed)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
