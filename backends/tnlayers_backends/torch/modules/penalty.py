"""A penalty that lets whole values of bonds die: the L1 norm of the weights of bonds.

    penalty = sum over bonds, sum over values i of the bond:  product over the cores that share it of ||slice_i||

Value `i` of a bond contributes what its slices make together, so the product of their norms is its weight: for
`cp` it is the lambda_i of the component. The sum of such weights is a group lasso (Yuan and Lin 2006) over bond values
that no rescaling between the cores of a bond can shrink; at two cores, minimised over all ways to write one matrix as a
product, it is the matrix's nuclear norm (Srebro, Rennie, Jaakkola 2004). `layer.prune_` removes the values that died.
Values that contribute parallel parts of W cost what one of them would: the penalty alone does not make them one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.switches import layers_in


@checks_arguments()
def bond_penalty(module: nn.Module) -> Tensor:
    """The sum of the weights of all bond values of all layers, differentiable (zero slices have gradient zero).

    Args:
        module: A layer, or a model with layers.

    Returns:
        A scalar, 0 where no layer has a bond.

    Raises:
        TNLayersError: If the module has no layer of tnlayers.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNLinear(12, 10, network="lowrank(rank=3)", seed=0)
        >>> a, b = layer.cores.values()
        >>> bool(torch.isclose(tnl.nn.bond_penalty(layer), (a.norm(dim=0) * b.norm(dim=1)).sum()))
        True
    """
    total: Tensor = torch.stack([_of_layer(layer) for layer in layers_in(module)]).sum()
    return total


def _of_layer(layer: TNModule) -> Tensor:
    cores = layer.cores
    total = next(iter(cores.values())).new_zeros(()).abs()  # real, also where the cores are complex
    for graph in layer.spec.graphs:
        for bond in graph.summed:
            norms = [_slice_norms(cores[c.name], c.indices, bond) for c in graph.cores if bond in c.indices]
            total = total + torch.stack(norms).prod(dim=0).sum()
    return total


def _slice_norms(core: Tensor, indices: tuple[int, ...], bond: int) -> Tensor:
    """The norm of a core's slice at each value of a bond; of a bond on several axes, where all agree."""
    axes = [axis for axis, i in enumerate(indices) if i == bond]
    while len(axes) > 1:  # the diagonal comes last; the axes before keep their places
        core = core.diagonal(dim1=axes[-2], dim2=axes[-1])
        axes = [*axes[:-2], core.ndim - 1]
    norms: Tensor = torch.linalg.vector_norm(core.movedim(axes[0], -1).reshape(-1, core.shape[axes[0]]), dim=0)
    return norms
