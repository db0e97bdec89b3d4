"""Adapters in whole models: put in by patterns on names, taken out as a small module of their own, merged.

The rest of the model is frozen, as in LoRA (Hu et al. 2021, arXiv 2106.09685), which is the network "lowrank"; any
network type goes, as in tensor-train adapters (LoRETTA, Yang et al. 2024, arXiv 2402.11417).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import nn

from tnlayers.declare.arguments import checks_arguments
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.kinds import find, kind_of
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.adapter import TNAdapter
from tnlayers_backends.torch.modules.adapter_kinds import FrozenCentre, Given, has_centre, kind_of_adapter, learned
from tnlayers_backends.torch.modules.hosts import is_transposed
from tnlayers_backends.torch.modules.marked import mark, unmark
from tnlayers_backends.torch.modules.wrapped import refuse_lazy, refuse_wrapped

M = TypeVar("M", bound=nn.Module)


class Adapters(nn.Module):
    """What adapters of a model have learned, without the model: their networks by the names of their places.

    `tnl.save(tnl.adapters(model), file)` writes them, and `tnl.load(file, into=model)` puts them into a model.

    Args:
        deltas: The networks by the path of their layer.
    """

    def __init__(self, deltas: Mapping[str, TNModule]) -> None:
        super().__init__()
        for path, delta in deltas.items():
            holder: nn.Module = self
            for name in path.split("."):
                if name not in holder._modules:
                    holder.add_module(name, nn.Module())
                holder = holder.get_submodule(name)
            holder.add_module("delta", delta)

    @property
    def deltas(self) -> dict[str, TNModule]:
        """The networks by the path of their layer."""
        named = self.named_modules(remove_duplicate=False)
        return {path.removesuffix(".delta"): one for path, one in named if isinstance(one, TNModule)}


@torch.inference_mode(False)  # what is made can be trained, wherever it was made
@checks_arguments(targets=None, network=None)
def adapt(model: M, targets: str | Sequence[str], network: Given = "lowrank(rank=8)", *, seed: int | None = None) -> M:
    """Put adapters into a model, in place: each learns a network that is added to a layer's weight, all else is frozen.

    Args:
        model: Any torch module. Its outputs are unchanged at first, since each network begins as zero.
        targets: One or several patterns on names of layers, such as "*.attn.*" or ["*q_proj", "*v_proj"].
        network: The network of each change: a type, a template, or a sized spec. Or another kind of adapter:
            `tnl.nn.Factors`, `tnl.nn.MetaTT` or `tnl.nn.FrozenCentre`.
        seed: Draws the networks; None takes torch's global generator.

    Returns:
        The model.

    Raises:
        TNLayersError: If a pattern matches no layer that an adapter takes, a layer shares its weight with another, or
            the network does not fit, or the model is wrapped by DistributedDataParallel or scripted; the model is then
            as it was.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        >>> model = adapt(model, "0", "mpo(cores=2, bond=4)", seed=0)
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['0.delta.core_0', '0.delta.core_1']
        >>> merge_adapters(model)[0]
        Linear(in_features=64, out_features=64, bias=True)
    """
    patterns = [targets] if isinstance(targets, str) else targets
    if not isinstance(patterns, (list, tuple)) or not patterns or not all(isinstance(one, str) for one in patterns):
        shown = f"targets={targets!r:.80}"
        raise TNLayersError(f"{shown}: give a pattern on names of layers, such as '*.attn.*', or a list of patterns.")
    refuse_wrapped(model, "adapt")
    refuse_lazy(model, "adapt")
    kind = kind_of_adapter(network)
    places = _targets(model, list(patterns), networks=isinstance(kind, FrozenCentre))
    _check_untied(model, places)
    made: dict[nn.Module, nn.Module] = {}
    with _unchanged_if_refused(model):
        for number, (layer, path) in enumerate(places.items()):
            try:
                adapter = kind.made(layer, None if seed is None else seed + number)
            except TNLayersError as error:
                raise TNLayersError(f"{path}: {error}") from error
            made[layer] = adapter.train(layer.training)
        kind.join({path: made[layer] for layer, path in places.items()})
    _place(model, made)
    return model


def adapters(model: nn.Module) -> Adapters:
    """The networks of all adapters in a model, which are all that was learned; they are the model's own, not copies.

    Raises:
        TNLayersError: If it has none.
    """
    found = {path: one.delta for path, one in model.named_modules() if isinstance(one, TNAdapter)}
    if not found and any(map(has_centre, model.modules())):
        raise TNLayersError(
            f"What this {type(model).__name__} learns are cores of its weights (FrozenCentre), not networks beside "
            "them: tnl.save(model, file) keeps them."
        )
    if not found:
        raise TNLayersError(f"This {type(model).__name__} has no adapters: put them in first, tnl.adapt(model, ...).")
    return Adapters(found)


@torch.inference_mode(False)
def merge_adapters(model: M) -> M:
    """Make every adapter's change part of its layer's weight, in place: the model has its own classes again.

    Raises:
        TNLayersError: If it has no adapters, or a layer's weight is no parameter any more.
    """
    centred = [one for one in model.modules() if has_centre(one)]
    if not centred:
        adapters(model)
    refuse_wrapped(model, "merge the adapters of")
    merged: dict[nn.Module, nn.Module] = {
        one: one.merge().train(one.training) for one in model.modules() if isinstance(one, TNAdapter)
    }
    merged |= {one: kind_of(one).to_dense(one).train(one.training) for one in centred}
    _exchange(model, merged)
    unmark(model)
    return model


@torch.inference_mode(False)
def put_in(model: nn.Module, deltas: Mapping[str, TNModule]) -> None:
    """Put networks that were saved into a model, as adapters; either all of it happens or nothing.

    Raises:
        TNLayersError: If there is no such layer, or a network does not fit it.
    """
    refuse_wrapped(model, "load adapters into")
    layers = dict(model.named_modules(remove_duplicate=False))
    made: dict[nn.Module, nn.Module] = {}
    with _unchanged_if_refused(model):
        for path, delta in deltas.items():
            old = layers.get(path)
            if old is None:
                raise TNLayersError(
                    f"The file has an adapter for {path!r}, but this {type(model).__name__} has no module of that "
                    "name. Give into= the kind of model that was adapted."
                )
            base = old.base if isinstance(old, TNAdapter) else old
            assert isinstance(base, nn.Module)
            _check_untied(model, {base: path})
            made[old] = TNAdapter.of(base, delta).train(old.training)
    _place(model, made)


@contextmanager
def _unchanged_if_refused(model: nn.Module) -> Iterator[None]:
    """Give every parameter its `requires_grad` back if an adapter is refused: the first of them froze some."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    except TNLayersError:
        for parameter, wanted in before:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
        raise


def _targets(model: nn.Module, patterns: Sequence[str], *, networks: bool) -> dict[nn.Module, str]:
    """The layers that patterns name, networks among them if wanted, each once, with a name."""
    taken = (TNAdapter,) if networks else (TNAdapter, TNModule)
    inside = {one for module in model.modules() if isinstance(module, taken) for one in module.modules()}
    free = {
        path: module
        for path, module in model.named_modules(remove_duplicate=False)
        if path and module not in inside and (find(module) is not None or is_transposed(module))
    }
    found: dict[nn.Module, str] = {}
    for pattern in patterns:
        own = {path: module for path, module in free.items() if fnmatchcase(path, str(pattern))}
        if not own:
            near = get_close_matches(str(pattern), free, n=3, cutoff=0.3) or list(free)[:3]
            raise TNLayersError(
                f"The pattern {str(pattern)[:100]!r} matches none of the {len(free)} layers that can be adapted; near "
                f"are {', '.join(near) or 'none'}. Patterns match whole names, with * for any text."
            )
        for path, module in own.items():
            found.setdefault(module, path)
    return found


def _check_untied(model: nn.Module, places: Mapping[nn.Module, str]) -> None:
    users: dict[int, set[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), set()).add(module)
    for layer, path in places.items():
        if any(len(users[id(parameter)]) > 1 for parameter in layer.parameters(recurse=False)):
            raise TNLayersError(
                f"{path} shares a parameter with another module (tied weights): an adapter would change one of them "
                "alone. Leave it out of targets=, or untie it first."
            )


def _place(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> None:
    """Exchange layers for their adapters, freeze what is no adapter's, and say so to who saves the model."""
    _exchange(model, made)
    learning = set(map(id, learned(model)))
    for parameter in model.parameters():
        if id(parameter) not in learning:
            parameter.requires_grad_(False)
    mark(model)


def _exchange(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    parents: Iterable[nn.Module] = list(model.modules())
    for parent in parents:
        for name, child in list(parent._modules.items()):
            if child is not None and child in new and parent not in new:
                parent._modules[name] = new[child]
