"""Whole torch modules: finding the layers of tnlayers in them, and putting saved layers in the place of dense ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.base import Parts
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.quantised import plain_state
from tnlayers_backends.torch.modules.hosts import (
    assembled,
    extra_attributes,
    host_of,
    own_copy,
    parts_of,
    reason_against,
)
from tnlayers_backends.torch.modules.hugging_face import declare_ties
from tnlayers_backends.torch.modules.marked import mark
from tnlayers_backends.torch.modules.storage import KINDS, dtype_name, kind_name, put_together, take_apart
from tnlayers_backends.torch.modules.wrapped import refuse_lazy


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A layer taken apart, and its place in a module: one path, or more for a layer that is used twice."""

    paths: tuple[str, ...]
    parts: Parts


def layers_of(module: nn.Module) -> tuple[Placed, ...]:
    """The layers of tnlayers in a module, in order.

    Raises:
        TNLayersError: If one is of a class that is not tnlayers' own.
    """
    paths: dict[TNModule, list[str]] = {}
    for path, child in module.named_modules(remove_duplicate=False):
        if isinstance(child, TNModule):
            paths.setdefault(child, []).append(path)
    return tuple(Placed(paths=tuple(places), parts=take_apart(layer)) for layer, places in paths.items())


def state_of(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a module holds: each tensor once, and the names that are the same tensor as another.

    Raises:
        TNLayersError: If its state has something that is no tensor, or of no size yet (lazy modules).
    """
    refuse_lazy(module, "save")
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, value in plain_state(module).items():
        if not isinstance(value, Tensor):
            raise TNLayersError(
                f"{name!r} in the state of this {type(module).__name__} is a {type(value).__name__}, not a tensor, and "
                "files hold tensors alone. Keep it in a buffer (register_buffer), or outside the module."
            )
        place = (value.data_ptr(), tuple(value.shape), value.stride(), value.dtype, value.device)
        if value.numel() and not value.is_meta and place in first:
            tied[name] = first[place]
        else:
            first[place] = name
            tensors[name] = value
    return tensors, tied


def fill(
    module: nn.Module,
    layers: Sequence[Placed],
    rest: Mapping[str, Tensor],
    tied: Mapping[str, str],
    *,
    adopt: bool = False,
) -> None:
    """Replace dense modules by layers and set every other tensor; either all of it happens or nothing.

    Args:
        module: Changed in place.
        layers: What to put where. A place has the dense module that the kind of layer replaces, or such a layer;
            or it is a part of a dense attention or recurrent module, which then becomes one of tnlayers.
        rest: All other tensors of the module's state, by name.
        tied: Names that are to be one and the same parameter as another.
        adopt: Whether the tensors become the module's own, whatever dtype and place in the model it had: for a module
            that was made to be filled. Else its parameters keep their identity, and a layer must fit its place.

    Raises:
        TNLayersError: If a place is missing or taken by something else, or tensors are missing, left over, or of
            another shape or dtype.
    """
    _check_fillable(module, rest, layers)
    undone = _taken_apart(module, layers)
    try:
        _filled(module, layers, rest, adopt)
    except TNLayersError:
        for parent, name, host in undone:
            parent._modules[name] = host
        raise
    tie(module, tied)
    declare_ties(module)
    mark(module)


def place(module: nn.Module, layers: Sequence[Placed]) -> None:
    """Replace dense modules by layers whose numbers come later; either all of it happens or nothing.

    Args:
        module: Changed in place.
        layers: What to put where, as in `fill`; arrays are on the meta device.

    Raises:
        TNLayersError: If a place is missing or taken by something else.
    """
    undone = _taken_apart(module, layers)
    try:
        places = dict(module.named_modules(remove_duplicate=False))
        _put(places, layers, _made(module, places, layers, anything=False), moved=False)
    except TNLayersError:
        for parent, name, host in undone:
            parent._modules[name] = host
        raise
    declare_ties(module)


def _check_fillable(module: nn.Module, rest: Mapping[str, Tensor], layers: Sequence[Placed]) -> None:
    """Refuse a skeleton with tensors on the meta device that no file holds, such as buffers that are not saved."""
    inside = tuple(f"{path}." for placed in layers for path in placed.paths)
    named = [*module.named_parameters(), *module.named_buffers()]
    empty = [name for name, value in named if value.is_meta and name not in rest and not name.startswith(inside)]
    saved = module.state_dict().keys()
    missing = [name for name in empty if name not in saved]
    if missing:
        raise TNLayersError(
            f"{', '.join(missing[:5])} of this {type(module).__name__} is on the meta device, without values, and no "
            "part of a state dict, so the file cannot give it values. Make the model without torch.device('meta')."
        )


def _taken_apart(module: nn.Module, layers: Sequence[Placed]) -> list[tuple[nn.Module, str, nn.Module]]:
    """Dense modules of several weights, parts of which are layers, in parts: their parents, names and selves of before.

    Attention and recurrent modules of torch hold tensors; what takes their place holds a module for each.
    """
    places = dict(module.named_modules(remove_duplicate=False))
    wanted: dict[str, set[str]] = {}
    for path in {path for placed in layers for path in placed.paths}:
        host_path = path.rpartition(".")[0]
        while host_path and host_path not in places:  # parts of some hosts have names of several words
            host_path = host_path.rpartition(".")[0]
        if host_path:
            wanted.setdefault(host_path, set()).add(path.removeprefix(f"{host_path}."))
    hosts: dict[nn.Module, nn.Module] = {}
    undone = []
    for path, names in sorted(wanted.items()):
        host = places[path]
        parts = parts_of(host)
        if not parts or "" in parts or reason_against(host):
            continue
        if host not in hosts:
            opened = {name: own_copy(parts[name]) for name in host_of(host).opened(host, names)}
            hosts[host] = assembled(host, opened).train(host.training)
        parent, _, name = path.rpartition(".")
        places[parent]._modules[name] = hosts[host]
        undone.append((places[parent], name, host))
    return undone


def _filled(module: nn.Module, layers: Sequence[Placed], rest: Mapping[str, Tensor], adopt: bool) -> None:
    places = dict(module.named_modules(remove_duplicate=False))
    made = _made(module, places, layers, anything=adopt)
    inside = tuple(f"{path}." for placed in layers for path in placed.paths)
    own = {name: value for name, value in module.state_dict().items() if not name.startswith(inside)}
    _check_rest(own, rest, adopt)
    _put(places, layers, made, moved=not adopt)
    if not adopt:
        _give_memory(module, rest)
    module.load_state_dict(dict(rest), strict=False, assign=adopt)  # all names were checked


def _made(
    module: nn.Module, places: Mapping[str, nn.Module], layers: Sequence[Placed], *, anything: bool
) -> list[TNModule]:
    """The layers, each of which fits its places."""
    made = []
    for placed in layers:
        layer = put_together(placed.parts)
        for path in placed.paths:
            _check_place(module, places, path, layer, anything=anything)
        made.append(layer)
    return made


def _put(places: Mapping[str, nn.Module], layers: Sequence[Placed], made: Sequence[TNModule], *, moved: bool) -> None:
    """Set the layers in their places; they go to where the dense modules are if they are to be moved."""
    for placed, layer in zip(layers, made, strict=True):
        old = places[placed.paths[0]]
        device = next((p.device for p in old.parameters()), None)
        if moved and device is not None and device.type != "meta":
            layer.to(device)
        layer.train(old.training)
        if "" in parts_of(old):
            for name, value in extra_attributes(old, layer).items():
                setattr(layer, name, value)
        for path in placed.paths:
            parent, _, name = path.rpartition(".")
            setattr(places[parent], name, layer)


def _give_memory(module: nn.Module, rest: Mapping[str, Tensor]) -> None:
    """Memory for tensors on the meta device, into which a copy would do nothing; one that has two names stays one."""
    made: dict[int, Tensor] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if value.is_meta and name in rest:
            path, _, leaf = name.rpartition(".")
            host = module.get_submodule(path)
            if id(value) not in made:
                new = torch.empty_like(value, device=rest[name].device, requires_grad=False)
                made[id(value)] = nn.Parameter(new, value.requires_grad) if leaf in host._parameters else new
            held: Any = host._parameters if leaf in host._parameters else host._buffers
            held[leaf] = made[id(value)]


def _check_place(
    module: nn.Module, places: Mapping[str, nn.Module], path: str, layer: TNModule, *, anything: bool
) -> None:
    """Whether a layer can go where a module is: the dense one that it replaces, or one of its own kind."""
    if path not in places or not path:
        near = get_close_matches(path, places, n=3)
        raise TNLayersError(
            f"The file has a layer {str(layer.spec)[:120]} at {path!r}, but this {type(module).__name__} has no module "
            f"of that name{f'; it has {near}' if near else ''}. Give into= the kind of model that was saved."
        )
    if anything:
        return
    old, name = parts_of(places[path]).get("", places[path]), kind_name(layer)
    kind = KINDS[name]
    if type(old) is not kind.replaces and not (isinstance(old, TNModule) and kind_name(old) == name):
        raise TNLayersError(
            f"The {type(layer).__name__} at {path!r} takes the place of a {kind.replaces.__name__}, but there is a "
            f"{type(places[path]).__name__}. Give into= the model as it was before its layers were replaced."
        )
    sizes = [size for size in (*kind.sizes, *kind.options) if size != "padding_idx" or layer.padding_idx is not None]
    needs, has = (tuple(getattr(one, size) for size in sizes) for one in (layer, old))
    if has != needs:
        raise TNLayersError(
            f"The {type(layer).__name__} at {path!r} has {', '.join(sizes)} = {needs}, but the module there has "
            f"{has}. Give into= a model of the sizes that were saved."
        )


def _check_rest(own: Mapping[str, Tensor], rest: Mapping[str, Tensor], adopt: bool) -> None:
    """Whether tensors are exactly those of a module's state."""
    missing, surplus = sorted(own.keys() - rest.keys()), sorted(rest.keys() - own.keys())
    if missing or surplus:
        raise TNLayersError(
            f"The file and the model do not fit: {len(missing)} tensors of the model are not in the file "
            f"({', '.join(missing[:5])}), and {len(surplus)} of the file not in the model ({', '.join(surplus[:5])}). "
            "Give into= the kind of model that was saved."
        )
    for name, value in rest.items():
        if value.shape != own[name].shape:
            raise TNLayersError(f"{name!r} has shape {tuple(value.shape)} in the file, {tuple(own[name].shape)} here.")
        kinds = [(tensor.is_floating_point(), tensor.is_complex()) for tensor in (value, own[name])]
        if adopt and kinds[0] != kinds[1]:
            raise TNLayersError(
                f"{name!r} is {dtype_name(value)} in the file, of another kind than {dtype_name(own[name])}."
            )
        if value.dtype != own[name].dtype and not adopt:
            raise TNLayersError(
                f"{name!r} is {dtype_name(value)} in the file and {dtype_name(own[name])} here, which would change its "
                f"numbers. Make the model so first: model.to(torch.{dtype_name(value)})."
            )
    first: dict[int, str] = {}
    for name, value in own.items():
        one = first.setdefault(value.data_ptr() if value.numel() and not value.is_meta else id(value), name)
        if one != name and own[one].shape == value.shape and not torch.equal(rest[one], rest[name]):
            raise TNLayersError(f"{one!r} and {name!r} are one tensor in this model, but differ in the file.")


def tie(module: nn.Module, tied: Mapping[str, str]) -> None:
    """Make parameters that were one and the same one again."""
    for alias, name in tied.items():
        (path, leaf), (its_path, its_leaf) = ((n.rpartition(".")[0], n.rpartition(".")[2]) for n in (alias, name))
        host, other = module.get_submodule(path), module.get_submodule(its_path)
        parameter = other._parameters.get(its_leaf)
        if parameter is not None and leaf in host._parameters:
            host._parameters[leaf] = parameter
            if isinstance(host, TNModule) and isinstance(other, TNModule) and leaf in host.cores:
                host.tied = other.tied = True
