"""Placing: new layers into a model, or into a copy of it that never holds the dense weights they replace."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import computes
from tnlayers_backends.torch.modules.hosts import assembled, extra_attributes, rest_of
from tnlayers_backends.torch.modules.hugging_face import declare_ties
from tnlayers_backends.torch.modules.marked import mark, pretrained
from torch import Tensor, nn

from tnlayers.errors import TNLayersError

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def placed(model: nn.Module, made: Mapping[nn.Module, Mapping[str, nn.Module]], *, inplace: bool) -> nn.Module:
    """The model with new layers.

    Args:
        model: Left alone unless `inplace`.
        made: By module of the model, its parts that are networks now.
        inplace: Whether to change the model itself; nothing can fail once that has started.

    Raises:
        TNLayersError: If the model cannot be copied.
    """
    fresh = {host: _whole(host, parts) for host, parts in made.items()}
    biases = _biases(fresh, own=inplace)
    if inplace:
        for host, new in fresh.items():
            _copy_hooks(host, new, {name: getattr(host, name) for name in _HOOKS} | extra_attributes(host, new))
        for parent in list(model.modules()):
            for name, child in list(parent._modules.items()):
                if child in fresh:
                    parent._modules[name] = fresh[child]
        return _declared(model)
    memo: dict[int, Any] = {id(host): new for host, new in fresh.items()} | biases | _computed(model)
    try:
        copied = deepcopy(model, memo)
        for host, new in fresh.items():  # hooks that are methods of a module of the model now are those of its copy
            kept = {name: getattr(host, name) for name in _HOOKS} | extra_attributes(host, new)
            _copy_hooks(host, new, {name: deepcopy(value, memo) for name, value in kept.items()})
    except Exception as error:
        raise TNLayersError(
            f"This {type(model).__name__} cannot be copied: {type(error).__name__}: {error}. Pass inplace=True to "
            "change it itself."
        ) from error
    return _declared(copied)


def _declared(model: nn.Module) -> nn.Module:
    """The model; one of transformers has said in its own words which weights are networks, and that they are tied."""
    declare_ties(model)
    if pretrained(model):
        with suppress(TNLayersError):  # without transformers, or with an old one, the mark alone is set
            import tnlayers.hf  # noqa: F401  # its save_pretrained is to write a table
    mark(model)
    return model


def _computed(model: nn.Module) -> dict[int, Tensor]:
    """By id, copies of tensors that modules keep from their last call, such as a weight that a hook computed.

    Those with a gradient cannot be copied by torch; the next call computes them anew.
    """
    attributes = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return {id(value): value.detach().clone() for value in attributes if not value.is_leaf}


def _whole(host: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    return assembled(host, {**rest_of(host, parts), **parts}).train(host.training)


def _biases(fresh: Mapping[nn.Module, nn.Module], *, own: bool) -> dict[int, nn.Parameter]:
    """By id of a dense module's bias, that of its network: a bias that other modules have too stays one.

    Args:
        fresh: The new modules by the old ones; networks among them get these biases.
        own: Whether they keep the dense modules' own parameters.
    """
    kept: dict[int, nn.Parameter] = {}
    for host, new in fresh.items():
        bias = host._parameters.get("bias")
        if bias is not None and isinstance(new, TNModule) and new.bias is not None:
            new.bias = kept.setdefault(id(bias), bias if own else new.bias)
    return kept


def _copy_hooks(host: nn.Module, new: nn.Module, hooks: Mapping[str, Any]) -> None:
    for name, value in hooks.items():
        setattr(new, name, value)
    for key in [key for key, hook in new._forward_pre_hooks.items() if computes(hook)]:
        del new._forward_pre_hooks[key]  # what it computed is in the cores
    new._is_full_backward_hook = host._is_full_backward_hook
