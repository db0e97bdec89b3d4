"""A linear layer plus a change of low rank, exactly: one layer whose network is the sum of both."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tnlayers.declare.spec import spec as make_spec
from tnlayers.declare.sums import sum_of
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.feature_orders import NAMES
from tnlayers_backends.torch.layers.linear import TNLinear, from_spec


@torch.no_grad()
def with_low_rank(layer: TNLinear, down: Tensor, up: Tensor, bias: Tensor | None = None) -> TNLinear:
    """A layer that computes what one does, plus up (down x) and a bias; the layer itself is not changed.

    Its network is a sum: the layer's terms, then one more, "lowrank".

    Args:
        layer: Any `TNLinear`.
        down: Of shape (rank, in_features).
        up: Of shape (out_features, rank).
        bias: What is added to the layer's bias; a layer without one gets it.

    Raises:
        TNLayersError: If the layer shares its cores with another, or the rank is that of a full matrix.

    Example:
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=2, seed=0)
        >>> with_low_rank(layer, torch.zeros(1, 16), torch.zeros(16, 1)).spec
        Spec('mpo(in=4x4, out=4x4, bias=true, bond=2) + lowrank(in=16, out=16, rank=1)')
    """
    if layer.tied:
        raise TNLayersError(
            f"{layer.spec} shares its cores with another layer (tied weights), whose weight must not change with its "
            "own. Let this one go its own way first: layer.untie_()."
        )
    rank = down.shape[0]
    if rank >= min(layer.in_features, layer.out_features):
        raise TNLayersError(
            f"A change of rank {rank} of a weight {layer.out_features} x {layer.in_features} is a full matrix, no term "
            "of low rank: give a smaller rank, or make the layer dense first (to_linear)."
        )
    term = make_spec("lowrank", layer.in_features, layer.out_features, rank=rank)
    parts = (*layer.spec.parts, term)
    names = {name for graph in layer._map.graphs for name in graph.shapes}
    number = next(k for k in range(1, len(parts) + 1) if not {f"merged{k}_down", f"merged{k}_up"} & names)
    (graph,) = term.graphs
    own = replace(graph, cores=tuple(replace(core, name=f"merged{number}_{core.name}") for core in graph.cores))
    has_bias = layer.bias is not None or bias is not None
    spec = replace(sum_of(parts, has_bias), lowered=(*layer._map.graphs, own))
    first = next(iter(layer.cores.values()))
    new = from_spec(spec, device="meta", dtype=str(first.dtype))
    for name, core in layer.cores.items():
        new.register_parameter(name, nn.Parameter(core.detach().clone(), core.requires_grad))
    for name in NAMES:
        setattr(new, name, getattr(layer, name))
    if layer.in_order is not None:
        down = down.index_select(1, layer.in_order)
    if layer.out_place is not None:
        up = up.index_select(0, layer.out_place.argsort())
    for name, value in zip(own.shapes, (down.mT, up.mT), strict=True):
        made = value.to(first.device, first.dtype).contiguous().clone()
        new.register_parameter(name, nn.Parameter(made, first.requires_grad))
    if has_bias:
        known = layer.bias if layer.bias is not None else torch.zeros_like(up[:, 0])
        whole = known.detach() if bias is None else known.detach() + bias.to(known)
        requires = first.requires_grad if layer.bias is None else layer.bias.requires_grad
        new.bias = nn.Parameter(whole.to(first.device, first.dtype).clone(), requires)
    new._set_map(new._map.on(layer._map.device))
    return new.train(layer.training)
