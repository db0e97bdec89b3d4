"""Hosts: the kinds of modules whose weights can be networks, taken into dense parts and put together of new ones.

Each kind says which parts it has, as modules of torch that share its memory, what takes its place once some parts are
networks, and what a call of it gives to each. Hugging Face's `Conv1D` is known by its name and attributes: transformers
need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from tnlayers_backends.torch.layers.kinds import KINDS, find, kind_of
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import ordinary, parent_of
from tnlayers_backends.torch.layers.ordinary import reason_against as more_than_plain
from tnlayers_backends.torch.layers.recurrent_cells import TNGRUCell, TNLSTMCell, TNRNNCell
from tnlayers_backends.torch.layers.recurrent_layers import TNGRU, TNLSTM, TNRNN
from tnlayers_backends.torch.modules.host import Host, Single, as_linear, tensor
from tnlayers_backends.torch.modules.host_attention import Attention
from tnlayers_backends.torch.modules.host_experts import Experts, is_experts
from tnlayers_backends.torch.modules.host_recurrent import Cell, Recurrent


class _Dense(Single):
    """A module of torch that is one weight."""

    def parts(self, module: nn.Module) -> dict[str, nn.Module]:
        """As `Host`."""
        return {"": kind_of(module).plain(module if more_than_plain(module) else ordinary(module))}

    def reason_against(self, module: nn.Module) -> str:
        """As `Host`."""
        return kind_of(module).reason_against(module)


class _Transposed(Single):
    """Hugging Face's Conv1D."""

    def parts(self, module: nn.Module) -> dict[str, nn.Module]:
        """As `Host`."""
        return {"": as_linear(tensor(module, "weight").mT, getattr(module, "bias", None))}


HOSTS: dict[type[nn.Module], Host] = {
    nn.MultiheadAttention: Attention(),
    nn.LSTMCell: Cell(TNLSTMCell),
    nn.GRUCell: Cell(TNGRUCell),
    nn.RNNCell: Cell(TNRNNCell, "nonlinearity"),
    nn.LSTM: Recurrent(TNLSTM, "proj_size"),
    nn.GRU: Recurrent(TNGRU),
    nn.RNN: Recurrent(TNRNN, "nonlinearity"),
}
_NONE, _NETWORK, _DENSE, _TRANSPOSED, _EXPERTS = Host(), Single(), _Dense(), _Transposed(), Experts()


def replaceable() -> str:
    """The classes of torch whose weights can be networks, as messages list them."""
    single = [kind.replaces for kind in KINDS.values() if not issubclass(kind.replaces, TNModule)]
    return ", ".join(f"nn.{one.__name__}" for one in (*single, *HOSTS))


def host_of(module: nn.Module) -> Host:
    """What a module is as a host; one without parts for modules that have no such weight."""
    if isinstance(module, TNModule):
        return _NETWORK
    if find(module) is not None:
        return _DENSE
    if is_transposed(module):
        return _TRANSPOSED
    if is_experts(module):
        return _EXPERTS
    return next((HOSTS[base] for base in type(module).__mro__ if base in HOSTS), _NONE)


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """The dense weights of a module by the name of the part, "" for the module's only one; none for other modules."""
    return host_of(module).parts(module)


def reason_against(module: nn.Module) -> str:
    """Why a module with such weights has to stay as it is; "" where it need not."""
    if (parent_of(module) is not None or is_transposed(module)) and (reason := more_than_plain(module)):
        return reason
    return host_of(module).reason_against(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether this is Hugging Face's Conv1D: a linear layer whose weight is (in_features, out_features)."""
    weight, outputs = getattr(module, "weight", None), getattr(module, "nf", None)
    return type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.shape[-1:] == (outputs,)


def rest_of(module: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """The parts that stay dense where those of some names become networks, with memory of their own."""
    opened = host_of(module).opened(module, names)
    return {name: own_copy(dense) for name, dense in parts_of(module).items() if name in opened - set(names)}


def assembled(module: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    """What takes the place of a module, of its dense parts and networks; it has the module's hooks and modes."""
    return host_of(module).assembled(module, parts)


def extra_attributes(module: nn.Module, new: nn.Module) -> dict[str, Any]:
    """What was attached to a module and its successor lacks, such as `nf` of Conv1D: other code may read it."""
    return {
        name: value
        for name, value in vars(module).items()
        if not (name.startswith("_") or name in vars(new) or hasattr(type(new), name) or name in ("weight", "bias"))
    }


def copy_modes(old: nn.Module, new: nn.Module) -> None:
    """Give a new part what its dense one had: which parameters are trained, and the training mode."""
    for name, parameter in new.named_parameters():
        twin = getattr(old, "bias" if name == "bias" else "weight")
        parameter.requires_grad_(twin.requires_grad)
    new.train(old.training)


def own_copy(dense: nn.Module) -> nn.Module:
    """A part that stays dense, with memory of its own."""
    assert isinstance(dense, nn.Linear)
    return as_linear(_own(dense.weight), None if dense.bias is None else _own(dense.bias))


def _own(parameter: Tensor) -> Tensor:
    own = parameter.detach().clone(memory_format=torch.contiguous_format)  # as a file would give it
    return own.requires_grad_(parameter.requires_grad)


def parameters_of(module: nn.Module) -> int:
    """Entries of the parameters of a module, each once."""
    return sum(parameter.numel() for parameter in module.parameters())


def itemsize(tensor: Tensor) -> int:
    """Bytes per entry."""
    return torch.empty((), dtype=tensor.dtype).element_size()


def occupied(tensor: Tensor) -> int:
    """Bytes that a tensor takes: of a tensor of several, such as quantised numbers and their scales, all of them."""
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        return sum(occupied(getattr(tensor, name)) for name in names)
    return tensor.numel() * itemsize(tensor)
