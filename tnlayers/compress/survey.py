"""The spectra of every weight of a torch model: of networks at their own bonds, of dense weights cut by a template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.hosts import parts_of
from torch import nn

from tnlayers.cores.canonical import loop_free
from tnlayers.cores.spectrum import Spectra
from tnlayers.decompose.spectra import spectra
from tnlayers.errors import TNLayersError


def weights_of(model: nn.Module, patterns: Sequence[str] = ()) -> dict[str, nn.Module]:
    """The weights of a model by name: layers of tnlayers, and every dense weight that one could stand for.

    Args:
        model: Any module.
        patterns: Of names ("encoder.*"), one of which has to match; none for all weights.

    Raises:
        TNLayersError: If there are no weights, or a pattern matches none.
    """
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        parts = {"": module} if isinstance(module, TNModule) else parts_of(module)
        found |= {".".join(filter(None, (path, part))): weight for part, weight in parts.items()}
    if not found:
        raise TNLayersError(f"This {type(model).__name__} has no weight that a network could stand for.")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise TNLayersError(f"No layer's name matches {pattern!r}; the layers are {', '.join(found)}.")
    return {
        name: weight
        for name, weight in found.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def survey(weights: dict[str, nn.Module], template: str) -> Iterator[tuple[str, Spectra]]:
    """The spectra of weights, one after the other.

    Args:
        weights: By name.
        template: What cuts dense weights and networks that have loops: a loop-free network, "mpo(cores=4)".

    Raises:
        TNLayersError: As `tnl.spectra`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> [(name, len(found.bonds)) for name, found in survey(weights_of(model), "mpo(cores=2)")]
        [('0', 1), ('2', 1)]
    """
    for name, layer in weights.items():
        own = isinstance(layer, TNModule) and all(loop_free(graph) for graph in layer._map.graphs)
        yield name, spectra(layer, None if own else template)
