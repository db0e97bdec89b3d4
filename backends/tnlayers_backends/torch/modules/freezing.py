"""Freezing whole models: every layer of tnlayers in them at once, and a report of the memory that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.switches import layers_in
from tnlayers_backends.torch.run.frozen import Budget

M = TypeVar("M", bound=nn.Module)


def freeze(model: M, *, memory_limit: int | None = None) -> M:
    """Promise that the cores of all layers stay as they are: inference prepares what it needs once, and uses it.

    See `layer.freeze` for what it means and what ends it. The model goes to evaluation mode. Either all layers are
    frozen or, after an error, none.

    Args:
        model: A layer, or a model with layers of tnlayers; changed in place.
        memory_limit: Bytes that all layers may keep together; 64 MiB for each if None.

    Returns:
        The model.

    Raises:
        TNLayersError: If the model has no layer of tnlayers, one of them cannot be frozen, or the limit is no number of
            bytes.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> model = torch.nn.Sequential(tnl.nn.MPOLinear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
        >>> print(tnl.frozen(tnl.freeze(model)))
        layer  kind       bytes
        0      MPOLinear  802,816
        1 of 1 layers frozen, 802,816 bytes beside the cores.
    """
    layers = list(dict.fromkeys(layers_in(model)))
    shared = None if memory_limit is None else Budget(memory_limit)
    try:
        for layer in layers:
            if shared is None:
                layer.freeze()
            else:
                layer._freeze(shared)
    except BaseException:
        thaw(model)
        raise
    model.eval()
    return model


def thaw(model: M) -> M:
    """End what `freeze` began, in all layers of a model; layers that are not frozen stay as they are.

    Args:
        model: A layer, or a model with layers of tnlayers.

    Returns:
        The model.

    Raises:
        TNLayersError: If the model has no layer of tnlayers.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.thaw(tnl.freeze(tnl.nn.MPOLinear(784, 256))).frozen is None
        True
    """
    for layer in layers_in(model):
        layer.thaw()
    return model


@dataclass(frozen=True, slots=True)
class FrozenReport:
    """What the layers of a model keep beside their cores; printing it shows a table.

    Attributes:
        layers: Name, class and bytes of each layer; None bytes for one that is not frozen.
    """

    layers: tuple[tuple[str, str, int | None], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all frozen layers together."""
        return sum(nbytes or 0 for _, _, nbytes in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "bytes")]
        rows += [(name or "(itself)", kind, "not frozen" if n is None else f"{n:,}") for name, kind, n in self.layers]
        widths = [max(len(row[k]) for row in rows) for k in (0, 1)]
        lines = [f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {nbytes}" for name, kind, nbytes in rows]
        count = sum(nbytes is not None for _, _, nbytes in self.layers)
        lines.append(f"{count} of {len(self.layers)} layers frozen, {self.nbytes:,} bytes beside the cores.")
        return "\n".join(lines)


def frozen(model: nn.Module) -> FrozenReport:
    """Which layers of a model are frozen, and the bytes that each keeps beside its cores.

    Args:
        model: A layer, or a model with layers of tnlayers.

    Raises:
        TNLayersError: If the model has no layer of tnlayers.

    Example:
        >>> import tnlayers as tnl
        >>> tnl.frozen(tnl.nn.MPOLinear(784, 256).freeze()).nbytes
        802816
    """
    layers_in(model)  # refuses what has none
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, TNModule)}
    return FrozenReport(tuple((name, type(layer).__name__, layer.frozen) for name, layer in found.items()))
