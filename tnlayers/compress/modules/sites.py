"""Sites: the weights of a model that can become networks, found.

A module that is one weight (nn.Linear, a convolution, an embedding) is one site. One that holds several (attention, a
recurrent cell) is one site per projection; `torch/modules/hosts.py` puts such a module together again. Modules that
share one weight are one site, of which `ties.py` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import is_computed
from tnlayers_backends.torch.modules.hosts import parts_of, reason_against
from torch import nn

from tnlayers.compress.modules.site import Site
from tnlayers.compress.modules.ties import Users, tied_together
from tnlayers.errors import TNLayersError


def sites_of(model: nn.Module, extra: Mapping[nn.Module, int] | None = None) -> list[Site]:
    """All sites of a model, in order; a weight at several places is one site.

    Args:
        model: Any module.
        extra: What modules have beyond a weight that they compute, see `baked`.

    Raises:
        TNLayersError: If the model is one weight itself, so that nothing could hold what replaces it.
    """
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    inside = {child for module in paths if parts_of(module) or isinstance(module, TNModule) for child in _below(module)}
    adapters = _of_adapters(model)
    found = [
        replace(site, against="it is of an adapter, which stays as it is") if module in adapters else site
        for module, places in paths.items()
        if module not in inside and not isinstance(module, TNModule)
        for site in _sites(module, places, (extra or {}).get(module, 0))
    ]
    if any("" in site.names for site in found):
        raise TNLayersError(
            f"The model is a single {type(model).__name__}, and nothing holds what would replace it. Use from_linear, "
            "from_conv or from_embedding of tnl.nn, or wrap it: nn.Sequential(layer)."
        )
    return tied_together(found, _users(model))


def _of_adapters(model: nn.Module) -> set[nn.Module]:
    """The modules that PEFT puts beside a layer, such as lora_A; known by what its layers say of themselves."""
    found: set[nn.Module] = set()
    for module in model.modules():
        names = getattr(module, "adapter_layer_names", ()) if hasattr(module, "base_layer") else ()
        for name in names if isinstance(names, (tuple, list)) else ():
            own = module._modules.get(name)
            found.update(own.modules() if own is not None else ())
    return found


def _below(module: nn.Module) -> Iterator[nn.Module]:
    return (child for child in module.modules() if child is not module)


def _users(model: nn.Module) -> Users:
    """By parameter, the modules that have it and the names it has there."""
    users: Users = {}
    for path, module in model.named_modules():  # each module once: one at two places shares nothing
        for name, parameter in module.named_parameters(recurse=False):
            users.setdefault(id(parameter), []).append((module, f"{path}.{name}"))
    return users


def _sites(module: nn.Module, places: list[str], extra: int) -> Iterator[Site]:
    against = reason_against(module)
    if not against and is_computed(module):  # `baked` left it as it is
        against = "its weight is computed from parameters that other modules have too"
    for part, dense in parts_of(module).items():
        names = tuple(f"{place}.{part}" if part and place else place or part for place in places)
        yield Site(names=names, host=module, part=part, dense=dense, against=against, extra=extra)
