"""Whole models in 8 or 4 bits: cores and dense weights as codes in groups, for inference and for adapters beside them.

Weight-only: every call makes the numbers of the codes again and computes as before. `layers/codes.py` says how numbers
are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

from tnlayers.cores.norm import relative_difference
from tnlayers.declare.arguments import checks_arguments, shown
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.codes import LARGEST_CODE, Codes
from tnlayers_backends.torch.layers.kinds import find
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import reason_against
from tnlayers_backends.torch.layers.quantised import all_codes, codes_of, put_codes, take_codes, value_of
from tnlayers_backends.torch.modules.hosts import is_transposed
from tnlayers_backends.torch.modules.marked import mark, unmark
from tnlayers_backends.torch.modules.quantised_report import Quantised, QuantisedLayer
from tnlayers_backends.torch.modules.wrapped import refuse_lazy, refuse_wrapped
from tnlayers_backends.torch.run.primitives import OPS

M = TypeVar("M", bound=nn.Module)
_LARGEST_GROUP = 2**20


@checks_arguments(bits=None, group=None, targets=None)
def quantise(
    model: nn.Module,
    bits: int = 8,
    *,
    group: int = 32,
    targets: str | Sequence[str] = "*",
    inplace: bool = False,
) -> Quantised:
    """Round cores and dense weights to integers of 8 or 4 bits, one scale for each group of neighbouring entries.

    Biases, norms and everything that is no layer of a kind with a weight stay as they are. The model goes to
    evaluation mode; it is for inference, and for adapters beside it (`tnl.adapt`, PEFT). A weight in codes that is
    asked to learn is refused. `tnl.save` and `tnl.load` keep the codes, `torch.export` and `torch.compile` take the
    model. Other backends load what the codes stand for.

    Args:
        model: A layer of torch, or any module with layers of tnlayers or of torch.
        bits: 8 or 4.
        group: How many entries, in row-major order, share a scale of 16 bits; even. 32 entries of 4 bits take 4.5 bits
            each.
        targets: Patterns on names of layers; all that are not in codes already, by default.
        inplace: Whether to change the model itself; else a copy.

    Returns:
        The model and the report.

    Raises:
        TNLayersError: If bits or group are none, a pattern matches no layer, or a weight is not finite; the model is
            then as it was.

    Example:
        >>> import torch, tnlayers as tnl
        >>> model = torch.nn.Sequential(tnl.nn.MPOLinear(256, 256, seed=0), torch.nn.ReLU(), torch.nn.Linear(256, 10))
        >>> small = tnl.quantise(model, bits=4)
        >>> round(small.bits_per_parameter, 2), small.after < small.before / 6
        (4.5, True)
    """
    check_format(bits, group)
    refuse_wrapped(model, "quantise")
    refuse_lazy(model, "quantise")
    if not inplace:
        model = deepcopy(model)
    found = _layers(model)
    chosen = _chosen(found, targets)
    against = _against(model, chosen)
    made: dict[int, Codes] = {}
    rows, written = [], []
    for module, name in chosen.items():
        own = {one: module._parameters[one] for one in found[module][1]}
        note = against.get(module, "")
        if not note:
            try:
                codes = {
                    one: made.setdefault(id(p), Codes.of(p, bits, group)) for one, p in own.items() if p is not None
                }
            except TNLayersError as error:
                raise TNLayersError(f"{name or 'the layer'}: {error}") from error
            written.append((module, codes))
        rows.append(_row(module, name, own, {} if note else codes, note))
    counted = {id(p) for module in chosen for one in found[module][1] if (p := module._parameters[one]) is not None}
    others = sum(p.nbytes for p in model.parameters() if id(p) not in counted)
    others += sum(b.nbytes for b in model.buffers())
    for module, codes in written:
        if isinstance(module, TNModule):
            module.thaw()
            module.invalidate()
        for one, value in codes.items():
            put_codes(module, one, value)
    model.eval()
    mark(model)
    return Quantised(model=model, bits=bits, group=group, layers=tuple(rows), others=others)


def check_format(bits: object, group: object) -> None:
    """Refuse what is no number of bits, or no size of a group.

    Raises:
        TNLayersError: If one is none.
    """
    if type(bits) is not int or bits not in LARGEST_CODE:
        raise TNLayersError(f"bits={shown(bits)}: 8 or 4 are offered.")
    if type(group) is not int or not 2 <= group <= _LARGEST_GROUP or group % 2:
        raise TNLayersError(f"group={shown(group)}: an even number from 2 to {_LARGEST_GROUP} is needed.")


def layers_to_round(model: nn.Module) -> dict[int, Tensor]:
    """The parameters that `quantise` would round, by id."""
    found = _layers(model)
    own = (module._parameters.get(one) for module, (_, names) in found.items() for one in names)
    return {id(one): one for one in own if one is not None}


def dequantise(model: M) -> M:
    """Make every weight in codes an ordinary parameter again, in place, of the numbers that its codes stand for.

    Raises:
        TNLayersError: If the model has none.

    Example:
        >>> import torch, tnlayers as tnl
        >>> layer = tnl.quantise(torch.nn.Linear(8, 8)).model
        >>> [name for name, _ in tnl.dequantise(layer).named_parameters()]
        ['weight', 'bias']
    """
    parts = [part for part in model.modules() if codes_of(part)]
    if not parts:
        raise TNLayersError(f"This {type(model).__name__} has no weight in codes of few bits: tnl.quantise makes them.")
    shared: dict[Codes, nn.Parameter] = {}
    for part in parts:
        names = dict(codes_of(part))
        take_codes(part)
        for name, codes in names.items():
            own = part._parameters[name]
            assert own is not None
            part._parameters[name] = shared.setdefault(codes, own)
    unmark(model)
    return model


def without_codes(model: M) -> M:
    """The model, or a copy with ordinary parameters where it has weights in codes."""
    return dequantise(deepcopy(model)) if all_codes(model) else model


def put_back(module: nn.Module, codes: Mapping[str, Codes]) -> None:
    """Let codes of a file be what parameters of a module are now: equal numbers, by name."""
    moved: dict[Codes, Codes] = {}
    for name, one in codes.items():
        path, _, leaf = name.rpartition(".")
        put_codes(module.get_submodule(path), leaf, moved.setdefault(one, one))


def _layers(model: nn.Module) -> dict[nn.Module, tuple[str, tuple[str, ...]]]:
    """The layers whose weights can be codes, with a name and the names of these parameters."""
    found: dict[nn.Module, tuple[str, tuple[str, ...]]] = {}
    for path, module in model.named_modules():
        if codes_of(module):
            continue
        if isinstance(module, TNModule):
            found[module] = path, tuple(module._names)
        elif find(module) is not None or is_transposed(module):
            found[module] = path, ("weight",)
    return found


def _chosen(
    found: Mapping[nn.Module, tuple[str, tuple[str, ...]]], targets: str | Sequence[str]
) -> dict[nn.Module, str]:
    patterns = [targets] if isinstance(targets, str) else targets
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(one, str) for one in patterns):
        raise TNLayersError(f"targets={targets!r:.80}: give a pattern on names of layers, or a list of patterns.")
    names = [path for path, _ in found.values()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
            raise TNLayersError(
                f"The pattern {pattern[:100]!r} matches none of the {len(names)} layers whose weights can be rounded; "
                f"near are {', '.join(near) or 'none'}. Layers in codes already are left out."
            )
    return {one: path for one, (path, _) in found.items() if any(fnmatchcase(path, pattern) for pattern in patterns)}


def _against(model: nn.Module, chosen: Mapping[nn.Module, str]) -> dict[nn.Module, str]:
    """Why layers are left as they are."""
    users: dict[int, set[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), set()).add(module)
    against = {}
    for module in chosen:
        names = module._names if isinstance(module, TNModule) else ("weight",)
        own = [module._parameters.get(name) for name in names]
        if any(one is None for one in own):
            against[module] = "its weight is computed from other parameters"
        elif not isinstance(module, TNModule) and (reason := reason_against(module)):
            against[module] = reason
        elif any(not one.is_floating_point() for one in own if one is not None):
            against[module] = "its numbers are complex"
        elif any(users[id(one)] - chosen.keys() for one in own):
            against[module] = "its weight is that of another module too, which is none of the layers to be rounded"
    while True:  # one weight is rounded for all of its layers or for none
        held_back = {id(p) for module in against for p in module.parameters(recurse=False)}
        more = [m for m in chosen if m not in against and held_back & {id(p) for p in m.parameters(recurse=False)}]
        if not more:
            return against
        against |= dict.fromkeys(more, "it shares a parameter with a layer that is left as it is")


@torch.no_grad()
def _row(
    module: nn.Module,
    name: str,
    own: Mapping[str, nn.Parameter | None],
    codes: Mapping[str, Codes],
    note: str,
) -> QuantisedLayer:
    tensors = [one for one in own.values() if one is not None]
    size = sum(one.nbytes for one in tensors)
    return QuantisedLayer(
        name=name,
        kind=type(module).__name__,
        parameters=sum(one.numel() for one in tensors),
        before=size,
        after=sum(one.nbytes for one in codes.values()) if codes else size,
        error=_error(module, tensors, [value_of(one) for one in codes.values()]) if codes else None,
        note=note,
    )


def _error(module: nn.Module, before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """||W - W'|| / ||W|| in double precision."""
    first, second = [one.double() for one in before], [one.double() for one in after]
    if all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        return 0.0
    if isinstance(module, TNModule):
        return relative_difference(OPS, module._map, first, second, "float64")
    return float((first[0] - second[0]).norm() / first[0].norm())
