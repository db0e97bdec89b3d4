"""Weights that are computed from cores: they read as tensors, and a write into them is refused where it would be lost.

`layer.weight` is rebuilt at each access. Much code writes into it all the same: `nn.init`, `model.apply(init)`, a norm
limit after each step, `layer.weight.data = ...`. Such a write would land in a tensor that nobody reads again.

A `ComputedWeight` is a plain tensor with a guard. Torch shows it every function that gets it (`__torch_function__`);
the function runs as on any tensor, and where the version counter says that it wrote, the write is refused. That covers
methods, `out=`, `inplace=True`, item assignment and `torch._foreach_*` without a list of names. What shares its memory
(`.data`, `.detach()`, slices, transposes) has the guard too, and a numpy array of it cannot be written; everything else
that comes out is a plain tensor. Under `torch.inference_mode`, which counts no versions, a function's name says whether
it writes. Memory that would leave torch by DLPack is refused, since nobody sees writes there.

Code that is compiled, exported or traced, and `torch.func` get plain tensors. So writes of compiled code into
`layer.weight` are lost without a word: the compiler (torch 2.13) makes new tensors of them, follows guards of a tensor
subclass only in part (`torch.relu_` and `torch._foreach_*` pass by), and breaks its graph at many plain reads of one.
The same holds for storages and pointers (`untyped_storage()`, `data_ptr()`, `torch.utils.dlpack.to_dlpack`), and for
`torch.utils.swap_tensors`, which exchanges the tensor that was read with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError

_BASE = vars(torch._C.TensorBase)["_base"].__get__  # what a view is of: the compiler follows it
_SETTERS = {vars(torch._C.TensorBase)[name].__set__: name for name in ("data", "real", "imag")}
# Set by transformers on modules that have their numbers; its own initialisation passes by tensors that have it too.
_INITIALISED = "_is_hf_initialized"
_NO_WRITES = frozenset({"requires_grad_", "share_memory_", "detach_", "rename_"})


class ComputedWeightError(TNLayersError, AttributeError):
    """A write into what is computed; an `AttributeError` as well, as for any attribute that cannot be set."""


class _AnyTensor(torch._C._TensorMeta):
    """`torch.testing.assert_close` compares related classes alone, so a parameter counts as one of these."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class ComputedWeight(Tensor, metaclass=_AnyTensor):
    """The dense weight of a layer of cores; a write into it raises."""

    _owner: str
    _home: int

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function as on plain tensors; refuse it afterwards if it wrote."""
        kwargs = kwargs or {}
        foreign = set(types) - {cls, Tensor, nn.Parameter}  # another subclass, which then decides what happens
        with torch._C.DisableTorchFunctionSubclass():
            own = [one for one in _inside((args, kwargs)) if type(one) is cls]
            if func in _SETTERS and type(args[0]) is cls:
                raise _refusal(own[0]._owner, f"{_SETTERS[func]} =")
            for one in _inside(_written(func, args, kwargs)):
                if type(one) is cls and one.is_inference():
                    raise _refusal(one._owner, getattr(func, "__name__", "a function"))
            before = [_version(one) for one in own]
            if not foreign:
                result = func(*args, **kwargs)
        if foreign:
            result = func(*plain(args), **plain(kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            for one, version in zip(own, before, strict=True):
                if _version(one) != version:
                    raise _refusal(one._owner, getattr(func, "__name__", "a function"))
            return result if func == _BASE else _guarded(result, own)

    def set_(self, *args: Any, **kwargs: Any) -> Tensor:
        """Refused here: torch does not show this method to `__torch_function__`."""
        raise _refusal(self._owner, "set_")

    def __dlpack__(self, *, copy: bool | None = None, **kwargs: Any) -> Any:
        """Refused but for a copy: who takes the memory may write there, and does not say so."""
        if not copy:
            raise _refusal(self._owner, "from_dlpack")
        return plain(self).__dlpack__(copy=True, **kwargs)

    @property
    def _is_param(self) -> bool:
        """As for any tensor; `nn.Parameter(layer.weight)` sets it, and becomes a parameter without the guard."""
        return False

    @_is_param.setter
    def _is_param(self, value: bool) -> None:
        self.__class__ = nn.Parameter  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return plain(self).__reduce_ex__(protocol)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return repr(plain(self))


# opt_einsum, autoray and this library ask the class's module whose array it is, and torch.compile looks the class up
# there: by name it is torch's.
ComputedWeight.__module__, ComputedWeight.__name__, ComputedWeight.__qualname__ = "torch", "Tensor", "Tensor"


class ComputedWeights(nn.Module):
    """A module some of whose attributes are weights computed from cores: it refuses to have them replaced; abstract."""

    def _is_computed(self, name: str) -> bool:
        """Whether an attribute is a weight or bias that is computed."""
        return name.startswith(("weight", "bias", "in_proj")) and isinstance(getattr(type(self), name, None), property)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_computed(name):
            own = type(value) is ComputedWeight and getattr(value, "_home", None) == id(self)
            if own and torch.equal(plain(value), plain(getattr(self, name))):
                return  # layer.weight = layer.weight, as code does that passes a module's tensors on
            raise _refusal(_owner(self, name), "an assignment")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_computed(name):
            raise _refusal(_owner(self, name), "del")
        super().__delattr__(name)

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which cannot read plans and would fail deep inside."""
        raise TNLayersError(
            f"torch.jit.script cannot compile a {type(self).__name__}: its plan is chosen by Python at each call. "
            "Use torch.export.export(model, args) or torch.compile(model), or script its dense form, such as "
            "layer.to_linear() gives."
        )

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As torch's; a computed weight cannot become a parameter."""
        given: Any = param
        if self._is_computed(name) or type(given) is ComputedWeight:
            raise _refusal(_owner(self, name), "register_parameter")
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """As torch's; a computed weight cannot become a buffer."""
        if self._is_computed(name):
            raise _refusal(_owner(self, name), "register_buffer")
        super().register_buffer(name, tensor, persistent)


def computed(value: Tensor, layer: nn.Module, name: str) -> Tensor:
    """A tensor that was computed from a layer's cores, guarded against writes.

    Args:
        value: The tensor, which nothing else holds.
        layer: Whose cores it is of.
        name: The attribute that was read.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.MPOLinear(16, 16, bond_dim=2, cores=2)
        >>> try:
        ...     torch.nn.init.xavier_uniform_(layer.weight)
        ... except tnl.TNLayersError as error:
        ...     print(str(error)[:75])
        weight of this MPOLinear is computed from its cores at each access, so what
    """
    if _is_traced(value):
        return value
    guarded = _with_guard(value, _owner(layer, name))
    guarded._home = id(layer)
    if _INITIALISED in vars(layer):
        setattr(guarded, _INITIALISED, True)
    return guarded


def _is_traced(value: Tensor) -> bool:
    """Whether a compiler, a tracer or a transform sees this tensor, for whom the guard would be another type."""
    if type(value) is not Tensor or torch.compiler.is_compiling() or torch._C._is_tracing():
        return True
    return torch._C._are_functorch_transforms_active()


def _version(tensor: Tensor) -> int:
    """How often torch counted a write; it counts none under `torch.inference_mode`."""
    return 0 if tensor.is_inference() else tensor._version


def _written(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The arguments that a function writes into, by torch's rules for names."""
    name = getattr(func, "__name__", "")
    inplace = name.endswith("_") and not name.endswith("__") and name not in _NO_WRITES
    inplace = inplace or name == "__setitem__" or name.startswith("__i") or bool(kwargs.get("inplace"))
    first = args[:1] or tuple(kwargs.values())[:1]
    return [first if inplace else (), kwargs.get("out")]


def _owner(layer: nn.Module, name: str) -> str:
    return f"{name} of this {type(layer).__name__}"


def _refusal(owner: str, write: str) -> ComputedWeightError:
    name = owner.split(" ", 1)[0]
    return ComputedWeightError(
        f"{owner} is computed from its cores at each access, so what {write} writes there would be lost. Write into "
        f"the cores (layer.cores), draw them anew (layer.reset_parameters()), or decompose a dense weight: "
        f"tnl.load_dense(model, state_dict), or from_linear and its kin. For your own copy: layer.{name}.clone()."
    )


def _with_guard(value: Tensor, owner: str) -> ComputedWeight:
    guarded = value.as_subclass(ComputedWeight)
    guarded._owner = owner
    return guarded


def _guarded(result: Any, own: list[ComputedWeight]) -> Any:
    """What a function returned, guarded where it is memory of a weight."""
    if isinstance(result, (tuple, list)):
        if type(result) in (tuple, list):
            return type(result)(_guarded(one, own) for one in result)
        return result
    if isinstance(result, np.ndarray):  # which does not count writes: numpy refuses them itself
        if any(_shares_memory(one, result) for one in own):
            result.flags.writeable = False
        return result
    if not isinstance(result, Tensor) or _is_traced(result) or result.layout != torch.strided:
        return result
    for one in own:
        if one.layout == torch.strided and result.untyped_storage()._cdata == one.untyped_storage()._cdata:
            return _with_guard(result, one._owner)
    return result


def _shares_memory(tensor: Tensor, array: np.ndarray) -> bool:
    """Whether an array lies in a tensor's memory."""
    storage = tensor.untyped_storage()
    first: int = array.__array_interface__["data"][0]
    return 0 <= first - storage.data_ptr() < max(storage.nbytes(), 1)


def plain(value: Any) -> Any:
    """Arguments with plain tensors of the same memory in the place of guarded ones."""
    if type(value) is ComputedWeight:
        with torch._C.DisableTorchFunctionSubclass():
            return value.as_subclass(Tensor)
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return {key: plain(one) for key, one in value.items()} if type(value) is dict else value


def _inside(value: Any) -> Iterable[Tensor]:
    """The tensors among arguments, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _inside(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _inside(one)
