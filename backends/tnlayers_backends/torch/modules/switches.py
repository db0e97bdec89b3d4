"""Switches for training that any module takes: they find the layers of tnlayers in it and set them, in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.dropout import BondDropout, check_probability
from tnlayers_backends.torch.layers.module import TNModule

M = TypeVar("M", bound=nn.Module)


def layers_in(module: nn.Module) -> Iterator[TNModule]:
    """The layers of tnlayers in a module, itself included.

    Raises:
        TNLayersError: If there are none, or it is no module.
    """
    if not isinstance(module, nn.Module):
        raise TNLayersError(f"A layer or a model of torch is needed, got {module!r:.80} ({type(module).__name__}).")
    found = [child for child in module.modules() if isinstance(child, TNModule)]
    if not found:
        raise TNLayersError(
            f"This {type(module).__name__} has no layer of tnlayers in it, so there are no bonds and no contractions. "
            "Give a tnl.nn.TNLinear, or a model that has one."
        )
    return iter(found)


@checks_arguments(p=None)  # which the dropout checks itself
def bond_dropout(module: M, p: float) -> M:
    """Leave out each value of every bond with probability `p` while training (`model.train()`); nothing in evaluation.

    Values that stay are multiplied by 1/(1 - p), so that the expected weight is the weight. `torch.manual_seed` makes
    the draws reproducible. The switch is no part of the state dict nor of saved files.

    Args:
        module: A layer, or a model with layers; set in place.
        p: The probability; 0 takes the dropout away again.

    Returns:
        The module.

    Raises:
        TNLayersError: If `p` is not in [0, 1), or the module has no layer of tnlayers.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.bond_dropout(tnl.nn.TNLinear(784, 256, network="mpo(bond=16)", seed=0), p=0.1)
        >>> x = torch.ones(1, 784)
        >>> bool((layer(x) == layer(x)).all()), bool((layer.eval()(x) == layer(x)).all())
        (False, True)
    """
    check_probability(p)
    for layer in layers_in(module):
        layer.bond_dropout = BondDropout(layer.spec.graphs, p).train(layer.training) if p > 0 else None
    return module


@checks_arguments()
def checkpointed(module: M, on: bool = True) -> M:
    """Let backward recompute what the contraction of each layer would keep (gradient checkpointing).

    Of a layer's forward pass only its input and its cores stay; the states between them are made again when their
    gradients are due, for one more forward pass. Gradients are the same.

    Args:
        module: A layer, or a model with layers; set in place.
        on: False keeps the states again.

    Returns:
        The module.

    Raises:
        TNLayersError: If the module has no layer of tnlayers.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.nn.checkpointed(tnl.nn.TNLinear(784, 256, seed=0)).checkpoint
        True
    """
    for layer in layers_in(module):
        layer.checkpoint = on
    return module
