"""One MPO over the same weight of several blocks: the blocks share the outer cores, and each has a centre of its own.

o_1   o_2   o_3              The weights of all blocks are one weight with one more index, the block, on the centre:
 |     |     |               its parameters are those of the outer cores once, and of the centres (as the experts of
[A]---[G_l]--[B]             MPOE share all but their auxiliary cores, Gao et al., arXiv 2203.01104).
 |     |     |
i_1   i_2   i_3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from tnlayers_backends.torch.layers.linear import TNLinear
from torch import Tensor, nn

from tnlayers.declare.modes import factorise
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.decomposition import Decomposition, decompose
from tnlayers.errors import TNLayersError

Modes = tuple[int, ...]


def share_cores_(
    model: nn.Module, names: Sequence[str], *, max_params: int, moments: Mapping[str, Tensor] | None = None
) -> Decomposition:
    """Replace linear layers of one size, in place, by MPOs of three cores that share their outer ones.

    Args:
        model: Any model.
        names: The layers, at least two `nn.Linear` of equal sizes; each has its own bias, or none.
        max_params: At most so many parameters of all their cores, shared ones counted once.
        moments: E[x x^T] of the inputs by name, (in_features, in_features); then the mean squared error of all outputs
            together is minimised, not that of the weights.

    Returns:
        The decomposition of all weights together, blocks being a part of its second input mode.

    Raises:
        TNLayersError: If the layers are no `nn.Linear` of equal sizes, or the budget is below the smallest MPO.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(3)))
        >>> found = share_cores_(model, ["0", "1", "2"], max_params=1920)
        >>> found.parameters <= 2000, model[0].core_0 is model[2].core_0, model[0].core_1 is model[2].core_1
        (True, True, False)
    """
    layers = _layers(model, names)
    ins, outs = _middle_heavy(layers[0].in_features), _middle_heavy(layers[0].out_features)
    count = len(layers)
    stacked = torch.stack([layer.weight.detach().double() for layer in layers], 1)  # (out, blocks, in)
    wide = stacked.reshape(-1, count, *ins).movedim(1, 2).flatten(1)  # (out, i_1 * blocks * i_2 * i_3)
    whole = f"mpo(in={ins[0]}x{count * ins[1]}x{ins[2]}, out={'x'.join(map(str, outs))})"
    moment = None if moments is None else _moment([moments[name] for name in names], ins)
    found = decompose(wide, whole, max_params=max_params, covariance=moment)
    spec = _one(found.spec, ins)
    first: TNLinear | None = None
    for k, (name, layer) in enumerate(zip(names, layers, strict=True)):
        made = TNLinear(layer.in_features, layer.out_features, layer.bias is not None, network=spec, seed=0)
        made = made.to(layer.weight)
        left, _, out, right = found.cores["core_1"].shape
        centre = found.cores["core_1"].view(left, count, ins[1], out, right)[:, k]
        with torch.no_grad():
            for core, value in (
                ("core_0", found.cores["core_0"]),
                ("core_1", centre),
                ("core_2", found.cores["core_2"]),
            ):
                made.cores[core].copy_(value)
            if layer.bias is not None and made.bias is not None:
                made.bias.copy_(layer.bias)
        if first is None:
            first = made
        else:
            made.core_0, made.core_2 = first.core_0, first.core_2
        made.train(layer.training)
        place, _, last = name.rpartition(".")
        setattr(model.get_submodule(place), last, made)
    return found


def _layers(model: nn.Module, names: Sequence[str]) -> list[nn.Linear]:
    layers = [model.get_submodule(name) for name in names]
    sizes = {(layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else None for layer in layers}
    if len(layers) < 2 or len(set(map(id, layers))) < len(layers) or len(sizes) > 1 or None in sizes:
        told = ", ".join(f"{name} ({layer})" for name, layer in zip(names, layers, strict=True))
        raise TNLayersError(
            f"Cores are shared by two or more different nn.Linear of equal sizes; given were {told or 'none'}."
        )
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _middle_heavy(size: int) -> Modes:
    """Three factors, the largest in the middle: the centre's bonds then do not exceed what a block can use."""
    factors = sorted(factorise(size, 3, pad=False))
    return factors[0], factors[2], factors[1]


def _moment(moments: Sequence[Tensor], ins: Modes) -> Tensor:
    """The second moment of the features of all blocks, of which one block at a time is not zero."""
    count, size = len(moments), prod(ins)
    whole = moments[0].new_zeros(count, size, count, size, dtype=torch.float64)
    for k, moment in enumerate(moments):
        whole[k, :, k] = moment.double() / count
    split = whole.view(count, *ins, count, *ins)
    order = (1, 0, 2, 3, 5, 4, 6, 7)
    return split.permute(order).reshape(count * size, count * size)


def _one(whole: Spec, ins: Modes) -> Spec:
    """The network of one block."""
    bonds = [whole.graph.sizes[index] for index in whole.graph.summed]
    modes = f"in={'x'.join(map(str, ins))}, out={'x'.join(map(str, whole.out_modes or ()))}"
    spec = make_spec(f"mpo({modes}, bond={'-'.join(map(str, bonds))})")
    if [spec.graph.sizes[index] for index in spec.graph.summed] != bonds:
        raise TNLayersError(
            f"{whole} has bonds that one block alone cannot use: max_params is more than these weights have together. "
            "Allow fewer parameters."
        )
    return spec
