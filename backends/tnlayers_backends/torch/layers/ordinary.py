"""Whether a dense module is what its class says: torch's own forward on weights that are ordinary parameters.

Only then is its weight all that it computes, so that a network can take its place. Otherwise there is a reason:

    the class        a forward of its own, other methods overridden, public methods that a network would not have
    the instance     a forward that was replaced on it (accelerate, peft), tensors beside its weight and bias
    the parameters   quantised, sparse, spread over processes, lazy, made under inference_mode, with hooks on gradients
    the weight       computed by hooks or parametrizations; `ordinary` computes it once where that is exact

A subclass whose forward is traced to the very operations of its parent's is what its parent is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import Tracer
from torch.fx.node import map_arg
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.quantised import codes_of

SINGLE: set[type[nn.Module]] = set()  # the classes of torch that are one weight and that a layer kind replaces
SEVERAL: tuple[type[nn.Module], ...] = (
    *(nn.MultiheadAttention, nn.LSTM, nn.GRU, nn.RNN),
    *(nn.LSTMCell, nn.GRUCell, nn.RNNCell),
)
_HARMLESS = {
    *("__init__", "__module__", "__doc__", "__qualname__", "__annotations__", "__dict__", "__weakref__", "__slots__"),
    *("__constants__", "__repr__", "__firstlineno__", "__static_attributes__", "__init_subclass__", "__orig_bases__"),
    *("extra_repr", "reset_parameters", "_reset_parameters", "_version", "__parameters__", "__annotate_func__"),
}
_FORWARD = {"forward", "_conv_forward"}
_EXACT = {"_WeightNorm", "_Orthogonal"}  # of torch.nn.utils.parametrizations: functions of the parameters alone
_M = TypeVar("_M", bound=nn.Module)


def enter(*kinds: type[nn.Module]) -> None:
    """Enter classes of torch that are one weight: the table of kinds does so."""
    SINGLE.update(kinds)


def parent_of(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch that a module is of, or derives from; None for all others."""
    return next((kind for kind in type(module).__mro__ if kind in (*SINGLE, *SEVERAL)), None)


def reason_against(module: nn.Module) -> str:
    """Why a module is not what its class says; "" where it is, perhaps once its weight is computed."""
    if isinstance(module, LazyModuleMixin) or any(nn.parameter.is_lazy(p) for p in module.parameters(False)):
        return "its parameters have no sizes yet (lazy): run the model once"
    if codes_of(module):
        return "its weight is codes of few bits: tnl.dequantise(model) first"
    if "forward" in vars(module):
        return "its forward was replaced on the instance"
    reason = _class_reason(module) or next(filter(None, _tensor_reasons(module)), "")
    if reason:
        return reason
    try:
        _computed(module)
    except TNLayersError as error:
        return str(error)
    return ""


def ordinary(module: nn.Module) -> nn.Module:
    """The module itself, or where its weight is computed, one like it that holds what is computed now.

    Raises:
        TNLayersError: With the reason, where that would not be exact.
    """
    values = _computed(module)
    parent = parent_of(module)
    if not values and (parent is None or type(module) is parent):
        return module
    twin = object.__new__(parent or type(module))
    vars(twin).update({key: value.copy() if isinstance(value, dict) else value for key, value in vars(module).items()})
    if values:
        vars(twin)["_forward_pre_hooks"] = type(module._forward_pre_hooks)(
            (key, hook) for key, hook in module._forward_pre_hooks.items() if not computes(hook)
        )
        vars(twin).update(_parameters={}, _buffers={}, _modules={})
        for name in ("weight", "bias"):
            vars(twin).pop(name, None)
            value = values.get(name, module._parameters.get(name))
            if name in values:
                value = nn.Parameter(values[name], any(p.requires_grad for p in module.parameters()))
            vars(twin)["_parameters"][name] = value
    return twin


def expect(module: object, kind: type[_M], method: str) -> _M:
    """A module of a kind that a layer can be made of.

    Raises:
        TNLayersError: With both names, or with the reason why not.
    """
    if not isinstance(module, kind):
        raise TNLayersError(f"{method} takes an nn.{kind.__name__}, got a {type(module).__name__}.")
    if reason := reason_against(module):
        raise TNLayersError(
            f"{method} takes the weight alone, and this {type(module).__name__} is more than that: {reason}. Leave it "
            "dense, or give an nn." + kind.__name__ + " that computes the same."
        )
    plain = ordinary(module)
    assert isinstance(plain, kind)
    return plain


def is_computed(module: nn.Module) -> bool:
    """Whether a module of one weight computes it, or its bias, from other parameters."""
    return parent_of(module) in SINGLE and bool(_computed_names(module, ("weight", "bias")))


def computes(hook: object) -> bool:
    """Whether a forward pre-hook is one of torch's that compute a weight."""
    return isinstance(hook, (WeightNorm, SpectralNorm, prune.BasePruningMethod))


def _class_reason(module: nn.Module) -> str:
    parent = parent_of(module)
    if parent is None:
        return ""
    own = type(module).__mro__[: type(module).__mro__.index(parent)]
    own = own[1:] if parametrize.is_parametrized(module) else own  # torch's own class for parametrized modules
    opening = f"{type(module).__name__} is a class of its own, derived from one of torch's"
    names = {name: value for kind in reversed(own) for name, value in vars(kind).items() if name not in _HARMLESS}
    changed = sorted(name for name in names if hasattr(parent, name) and name not in _FORWARD)
    if changed:
        return f"{opening}, that overrides {', '.join(changed[:3])}"
    if _FORWARD & names.keys() and not (parent in SINGLE and _same_forward(module, parent)):
        return f"{opening}, with a forward of its own"
    added = sorted(name for name, value in names.items() if name[0] != "_" and _is_method(value))
    added = [name for name in added if name not in _FORWARD]
    return f"{opening}, with methods that a network would not have ({', '.join(added[:3])})" if added else ""


def _is_method(value: object) -> bool:
    return isinstance(value, property) or (callable(value) and not isinstance(value, (staticmethod, type)))


def _same_forward(module: nn.Module, parent: type[nn.Module]) -> bool:
    """Whether a forward traces to the operations of the parent's, in training and in evaluation."""
    return all(
        (traced := _operations(module, type(module), training)) is not None
        and traced == _operations(module, parent, training)
        for training in (False, True)
    )


def _operations(module: nn.Module, kind: type[nn.Module], training: bool) -> list[Any] | None:
    """The operations of a kind's forward on a module; None where it cannot be traced."""
    twin = object.__new__(kind)
    vars(twin).update({key: value.copy() if isinstance(value, dict) else value for key, value in vars(module).items()})
    vars(twin)["training"] = training
    try:
        nodes = list(Tracer().trace(twin).nodes)
    except Exception:  # whatever somebody's code does with a proxy
        return None
    places = {node: place for place, node in enumerate(nodes)}
    return [
        (
            node.op,
            node.target if node.op != "placeholder" else "",
            str(map_arg(node.args, lambda one: f"%{places[one]}")),
            str(map_arg(node.kwargs, lambda one: f"%{places[one]}")),
        )
        for node in nodes
    ]


def _tensor_reasons(module: nn.Module) -> Iterator[str]:
    known = {"weight", "bias"}
    computed = {f"{name}_{end}" for name in known for end in ("g", "v", "u", "orig", "mask")}
    extra = {*module._parameters, *module._buffers, *module._modules} - known - computed - {"parametrizations"}
    if extra and parent_of(module) in SINGLE:
        yield f"it holds {', '.join(sorted(extra)[:3])} beside its weight"
    for name, value in module.named_parameters():
        if type(value) is not nn.Parameter:
            yield f"its {name} is a {type(value).__name__}, no ordinary parameter"
        elif value.is_quantized or value.layout != torch.strided:
            yield f"its {name} is quantised or sparse ({value.layout})"
        elif not (value.is_floating_point() or value.is_complex()):
            yield f"its {name} holds {str(value.dtype).removeprefix('torch.')} numbers"
        elif value.is_floating_point() and value.itemsize == 1:
            yield f"its {name} is kept in 8 bits, in which nothing can be computed ({value.dtype})"
        elif value.is_inference():
            yield f"its {name} was made under torch.inference_mode: clone it outside"
        elif value._backward_hooks or getattr(value, "_post_accumulate_grad_hooks", None):
            yield f"its {name} has a hook on its gradient"
    if _hooks_on_state(module):
        yield "it has hooks on its state_dict, which are written for its own names"


def _hooks_on_state(module: nn.Module) -> bool:
    """Whether somebody's code runs where a state is saved or loaded; torch's own belongs to what it computes."""
    tables = (
        *(module._state_dict_hooks, module._state_dict_pre_hooks),
        *(module._load_state_dict_pre_hooks, module._load_state_dict_post_hooks),
    )
    hooks = [getattr(hook, "hook", hook) for table in tables for hook in table.values()]
    homes = [getattr(hook, "__module__", None) or type(hook).__module__ for hook in hooks]
    return any(not home.startswith("torch.") for home in homes)


def _computed(module: nn.Module) -> dict[str, Tensor]:
    """The weight and bias that a module computes from other parameters, as they are now.

    Raises:
        TNLayersError: If one is not a function of the parameters alone.
    """
    if parent_of(module) in SEVERAL:
        found = [name for part in module.modules() for name in _computed_names(part, ())]
        if found:
            raise TNLayersError(f"its {', '.join(found)} is computed; remove that first, which bakes it in")
        return {}
    with torch.no_grad():
        return {name: _value(module, name) for name in _computed_names(module, ("weight", "bias"))}


def _computed_names(module: nn.Module, names: tuple[str, ...]) -> list[str]:
    """Those of the names that are no parameters but computed; without names, all that hooks of torch compute."""
    if names:
        return [one for one in names if one not in module._parameters and isinstance(getattr(module, one, 0), Tensor)]
    hooks = [hook for hook in module._forward_pre_hooks.values() if computes(hook)]
    found = [getattr(hook, "name", "") or getattr(hook, "_tensor_name", "") for hook in hooks]
    return found + list(_parametrizations(module))


def _parametrizations(module: nn.Module) -> dict[str, Any]:
    return dict(module.parametrizations.items()) if parametrize.is_parametrized(module) else {}  # type: ignore[operator,union-attr]


def _value(module: nn.Module, name: str) -> Tensor:
    """What a module computes for a weight."""
    for one in _parametrizations(module).get(name, ()):
        kind, training = type(one), module.training or one.training
        known = kind.__module__ == parametrizations.__name__
        if not (known and (kind.__name__ in _EXACT or (kind.__name__ == "_SpectralNorm" and not training))):
            raise TNLayersError(_not_exact(name, kind.__name__.removeprefix("_")))
    hooks = [hook for hook in module._forward_pre_hooks.values() if computes(hook)]
    own: list[Any] = [one for one in hooks if name in (getattr(one, "name", ""), getattr(one, "_tensor_name", ""))]
    if name in _parametrizations(module):
        value = getattr(module, name)
    elif len(own) != 1:
        raise TNLayersError(f"its {name} is no parameter but computed from others, by code that is not known here")
    elif isinstance(own[0], SpectralNorm):
        if module.training:
            raise TNLayersError(_not_exact(name, "SpectralNorm"))
        value = own[0].compute_weight(module, do_power_iteration=False)
    else:
        value = own[0].compute_weight(module) if isinstance(own[0], WeightNorm) else own[0].apply_mask(module)
    assert isinstance(value, Tensor)
    return value.detach().clone()


def _not_exact(name: str, kind: str) -> str:
    return (
        f"its {name} is computed by {kind}, which may differ from call to call (spectral norm does in training: "
        "model.eval() first), so it is not baked in; remove it where it may be"
    )
