"""Hugging Face's models say by name which parameters are tied; where these are cores now, the cores are named instead.

Their `save_pretrained`, which `Trainer` calls, refuses parameters that are shared without being named there, and
`tie_weights` looks the named ones up. Known by its attributes, like `Conv1D`: transformers need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from tnlayers_backends.torch.layers.module import TNModule

# The attributes, and what ends a name in them: the first holds patterns, the second names.
_DECLARED = {"_tied_weights_keys": "$", "all_tied_weights_keys": ""}


def declare_ties(model: nn.Module) -> None:
    """Name the cores where a model or a part of it says that weights are tied which are networks now."""
    for module in model.modules():
        for attribute, end in _DECLARED.items():
            declared = getattr(module, attribute, None)
            if not isinstance(declared, dict):
                continue
            new = dict(pair for target, source in declared.items() for pair in _pairs(module, target, source, end))
            if new != declared:
                setattr(module, attribute, new)


def _pairs(module: nn.Module, target: str, source: str, end: str) -> Iterator[tuple[str, str]]:
    """A tie between two weights as those between their cores; as it is where they are no networks."""
    paths = target.removesuffix(".weight"), source.removesuffix(".weight")
    places = dict(module.named_modules(remove_duplicate=False))
    layers = [places.get(path) for path in paths]
    if not all(isinstance(layer, TNModule) for layer in layers):
        yield target, source
        return
    assert isinstance(layers[0], TNModule)
    yield from ((f"{paths[0]}.{name}{end}", f"{paths[1]}.{name}{end}") for name in layers[0].cores)
