"""Layers some of whose parameters are codes: the same class, save that these attributes are computed at each access.

The class of such a layer derives from the layer's own and has one property for each of these parameters; the codes lie
in a submodule `quantised`. That goes for cores as it does for the weight of a dense layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.codes import Codes

INSIDE = "quantised"  # the name of the submodule
_MADE: dict[tuple[type[nn.Module], tuple[str, ...]], type[nn.Module]] = {}


class Quantised(nn.Module):
    """What all such layers add to their class; abstract."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As torch's, but for what is codes."""
        if name in codes_of(self):
            raise _refusal(self, name)
        super().register_parameter(name, param)

    def reset_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Refused: the numbers would be lost.

        Raises:
            TNLayersError: Always.
        """
        raise _refusal(self, ", ".join(codes_of(self)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        found = cast("tuple[Any, ...]", super().__reduce_ex__(protocol))
        return (_empty, (own_class(self), tuple(codes_of(self))), *found[2:])


def codes_of(module: nn.Module) -> Mapping[str, Codes]:
    """The parameters of a module that are codes, by name; none for most modules."""
    inside = module._modules.get(INSIDE) if isinstance(module, Quantised) else None
    return {} if inside is None else cast("Mapping[str, Codes]", inside._modules)


def own_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module as it would be without codes."""
    return type(module).__mro__[2] if isinstance(module, Quantised) else type(module)


def put_codes(module: nn.Module, name: str, codes: Codes) -> None:
    """Let codes be what a parameter of a module was, in place; whether it was to be trained, and where, stays."""
    old = module._parameters.pop(name)
    assert old is not None
    codes.to(old.device).train(module.training).scales.requires_grad_(old.requires_grad)
    all_own = {**codes_of(module), name: codes}
    _change_class(module, tuple(all_own))
    module._modules[INSIDE] = holder = nn.Module()
    for one, value in all_own.items():
        holder.add_module(one, value)
    holder.training = module.training


def take_codes(module: nn.Module) -> None:
    """Make the codes of a module ordinary parameters again, in place, of the numbers that they stand for."""
    all_own = codes_of(module)
    if all_own:
        values = {name: nn.Parameter(value_of(codes), codes.scales.requires_grad) for name, codes in all_own.items()}
        del module._modules[INSIDE]
        module.__class__ = own_class(module)
        rest = dict(module._parameters)  # which come behind, as a bias does behind cores and weights
        module._parameters.clear()
        module._parameters.update({**values, **rest})


def value_of(codes: Codes) -> Tensor:
    """The tensor that codes stand for, whether it is asked to learn or not."""
    mode = codes.training
    try:
        value: Tensor = codes.eval()()
        return value.detach()
    finally:
        codes.train(mode)


def plain_state(module: nn.Module) -> dict[str, Any]:
    """The state of a module with a tensor, by its own name, in the place of codes; codes that are shared give one."""
    found: dict[str, Any] = dict(module.state_dict(keep_vars=True))
    values: dict[Codes, Tensor] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for name, codes in codes_of(part).items():
            before = f"{path}." if path else ""
            for key in ("codes", "scales"):
                del found[f"{before}{INSIDE}.{name}.{key}"]
            found[f"{before}{name}"] = values.setdefault(codes, value_of(codes))
    return found


def all_codes(module: nn.Module) -> dict[str, Codes]:
    """All codes in a module, by the names that its parameters would have."""
    return {
        f"{path}.{name}" if path else name: codes
        for path, part in module.named_modules(remove_duplicate=False)
        for name, codes in codes_of(part).items()
    }


def _change_class(module: nn.Module, names: tuple[str, ...]) -> None:
    module.__class__ = _class(own_class(module), names)


def _class(own: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    if (own, names) not in _MADE:
        members = {name: property(_reader(name), _writer(name)) for name in names}
        members |= {"__module__": own.__module__, "__doc__": own.__doc__}  # type: ignore[dict-item]
        _MADE[own, names] = type(own.__name__, (Quantised, own), members)
    return _MADE[own, names]


def _empty(own: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    """An object of such a class, for copies and pickles."""
    kind = _class(own, names)
    return kind.__new__(kind)


def _reader(name: str) -> Any:
    def read(module: nn.Module) -> Tensor:
        value: Tensor = codes_of(module)[name]()
        return value

    return read


def _writer(name: str) -> Any:
    def write(module: nn.Module, value: Any) -> None:
        raise _refusal(module, name)

    return write


def _refusal(module: nn.Module, names: str) -> TNLayersError:
    return TNLayersError(
        f"{names} of this {own_class(module).__name__} is codes of few bits, so other numbers cannot be written there. "
        "tnl.dequantise(model) makes it a parameter again."
    )
