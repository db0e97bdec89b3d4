"""Models that a file can name: classes entered here by the module that has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type[Any])
_KINDS: set[type[Any]] = set()


def register_model(kind: Kind) -> Kind:
    """Let files name the models of a class: a decorator. Each has an attribute `name`, and `model_maker` knows it."""
    _KINDS.add(kind)
    return kind


def model_name(model: object) -> str | None:
    """The name of a registered model, None for any other object."""
    return str(model.name) if type(model) in _KINDS and hasattr(model, "name") else None


def model_maker(name: str) -> Callable[..., Any]:
    """What makes the model of that name with a network: `model_maker("fc2")(network="dense")`.

    Raises:
        TNLayersError: If no model has it.
    """
    maker: Callable[..., Any] = _models().find(name).make
    return maker


def model_layers(name: str) -> int:
    """How many layers the model of that name has at least: none of fewer arrays is it.

    Raises:
        TNLayersError: If no model has the name.
    """
    return int(_models().find(name).layers)


def _models() -> Any:
    return importlib.import_module("tnlayers.models")  # it needs torch, as whoever asks does
