"""Models that a file can name: classes built from the name of a network, entered here by the module that has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tnlayers.errors import TNLayersError

_MODELS: dict[str, Callable[[str], Any]] = {}


def register_model(name: str, kind: Callable[[str], Any]) -> None:
    """Let files name a model.

    Args:
        name: What files call it.
        kind: Its class; `kind("dense")` makes one without any network, whose layers a file can then replace.
    """
    _MODELS[name] = kind


def model_name(model: object) -> str | None:
    """The name of a registered model, None for any other object."""
    return next((name for name, kind in _MODELS.items() if type(model) is kind), None)


def model_class(name: str) -> Callable[[str], Any]:
    """What makes the model of that name.

    Raises:
        TNLayersError: If no model has it.
    """
    importlib.import_module("tnlayers.models")  # which enters its models here; it needs torch, as whoever asks does
    if name not in _MODELS:
        raise TNLayersError(f"There is no model {name!r} in this version; known are {', '.join(sorted(_MODELS))}.")
    return _MODELS[name]
