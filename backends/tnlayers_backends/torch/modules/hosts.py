"""Hosts: the kinds of modules whose weights can be networks, taken into dense parts and put together of new ones.

Each kind says which parts it has, as modules of torch that share its memory, and what takes its place once some parts
are networks. Hugging Face's `Conv1D` is known by its name and attributes: transformers need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnlayers_backends.torch.layers.attention import TNMultiheadAttention
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import SINGLE, ordinary, parent_of
from tnlayers_backends.torch.layers.ordinary import reason_against as more_than_plain
from tnlayers_backends.torch.layers.recurrent_cells import TNGRUCell, TNLSTMCell, TNRecurrentCell, TNRNNCell
from tnlayers_backends.torch.layers.recurrent_layers import TNGRU, TNLSTM, TNRNN
from tnlayers_backends.torch.layers.sequence import TNRecurrent

_CELLS: dict[type[nn.Module], type[TNRecurrentCell]] = {
    nn.LSTMCell: TNLSTMCell,
    nn.GRUCell: TNGRUCell,
    nn.RNNCell: TNRNNCell,
}
_LAYERS: dict[type[nn.Module], type[TNRecurrent]] = {nn.LSTM: TNLSTM, nn.GRU: TNGRU, nn.RNN: TNRNN}


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """The dense weights of a module by the name of the part, "" for the module's only one; none for other modules."""
    if isinstance(module, SINGLE):
        plain = module if more_than_plain(module) else ordinary(module)
        return {"": _table(plain) if isinstance(plain, nn.Embedding) else plain}
    if is_transposed(module):
        return {"": as_linear(_tensor(module, "weight").mT, getattr(module, "bias", None))}
    if isinstance(module, nn.MultiheadAttention):
        return _projections(module)
    if isinstance(module, tuple(_CELLS)):
        parts = {"ih": ("weight_ih", "bias_ih"), "hh": ("weight_hh", "bias_hh")}
        return {
            name: as_linear(_tensor(module, weight), getattr(module, bias) if module.bias else None)
            for name, (weight, bias) in parts.items()
        }
    if isinstance(module, tuple(_LAYERS)):
        weights = [name for name in cast("list[str]", module._flat_weights_names) if name.startswith("weight")]
        twins = {name.removeprefix("weight_"): name.replace("weight", "bias") for name in weights}
        return {
            name: as_linear(_tensor(module, f"weight_{name}"), getattr(module, twin, None))
            for name, twin in twins.items()
        }
    return {}


def reason_against(module: nn.Module) -> str:
    """Why a module with such weights has to stay as it is; "" where it need not."""
    if (parent_of(module) is not None or is_transposed(module)) and (reason := more_than_plain(module)):
        return reason
    if isinstance(module, nn.Embedding):
        options = {
            "max_norm": module.max_norm,
            "scale_grad_by_freq": module.scale_grad_by_freq,
            "sparse": module.sparse,
        }
        used = [name for name, value in options.items() if value]
        return f"an embedding with {used[0]}" if used else ""
    if isinstance(module, nn.MultiheadAttention):
        if reason := more_than_plain(module.out_proj):
            return f"of its out_proj, {reason}"
        if module.bias_k is not None or module.add_zero_attn:
            return "attention with add_bias_kv or add_zero_attn"
    return ""


def is_transposed(module: nn.Module) -> bool:
    """Whether this is Hugging Face's Conv1D: a linear layer whose weight is (in_features, out_features)."""
    weight, outputs = getattr(module, "weight", None), getattr(module, "nf", None)
    return type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.shape[-1:] == (outputs,)


def as_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """An nn.Linear on given memory: no entry is copied."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach(), weight.requires_grad)
    linear.bias = None if bias is None else nn.Parameter(bias.detach(), bias.requires_grad)  # type: ignore[assignment]
    return linear


def assembled(module: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    """What takes the place of a module, of its dense parts and networks; it has the module's hooks and modes."""
    if "" in parts:
        new = parts[""]
    elif isinstance(module, nn.MultiheadAttention):
        new = TNMultiheadAttention(
            module.embed_dim,
            module.num_heads,
            module.dropout,
            module.in_proj_bias is not None,
            kdim=module.kdim,
            vdim=module.vdim,
            batch_first=module.batch_first,
            device="meta",
            network=None,
        )
        _set(new, {f"{name.removesuffix('_proj')}_proj": part for name, part in parts.items()})
    elif isinstance(module, nn.RNNCellBase):
        own = ("nonlinearity",) if isinstance(module, nn.RNNCell) else ()
        new = _blank(_kind(module, _CELLS), module, ("input_size", "hidden_size", "bias", *own))
        _set(new, parts)
    else:
        own = ("nonlinearity",) if isinstance(module, nn.RNN) else ("proj_size",) if isinstance(module, nn.LSTM) else ()
        settings = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
        new = _blank(_kind(module, _LAYERS), module, ("input_size", "hidden_size", *settings, *own))
        _set(new, parts)
    return new


def extra_attributes(module: nn.Module, new: nn.Module) -> dict[str, Any]:
    """What was attached to a module and its successor lacks, such as `nf` of Conv1D: other code may read it."""
    return {
        name: value
        for name, value in vars(module).items()
        if not (name.startswith("_") or name in vars(new) or hasattr(type(new), name) or name in ("weight", "bias"))
    }


def _kind(module: nn.Module, kinds: Mapping[type[nn.Module], Any]) -> Any:
    return next(new for dense, new in kinds.items() if isinstance(module, dense))


def _blank(kind: Callable[..., nn.Module], module: nn.Module, settings: tuple[str, ...]) -> nn.Module:
    """A layer with the settings of a dense one, and nothing in it yet."""
    return kind(device="meta", network=None, **{name: getattr(module, name) for name in settings})


def keep_modes(old: nn.Module, new: nn.Module) -> None:
    """Give a new part what its dense one had: which parameters are trained, and the training mode."""
    for name, parameter in new.named_parameters():
        twin = getattr(old, "bias" if name == "bias" else "weight")
        parameter.requires_grad_(twin.requires_grad)
    new.train(old.training)


def _table(module: nn.Embedding) -> nn.Embedding:
    """The embedding, of whose row of padding nothing is known where it is not zero: as a network's it would read so."""
    weight, padding = module.weight, module.padding_idx
    if padding is None or weight.is_meta or not weight[padding].count_nonzero():
        return module
    table = nn.Embedding(module.num_embeddings, module.embedding_dim, device="meta")
    table.weight = nn.Parameter(weight.detach(), weight.requires_grad)
    return table


def own_copy(dense: nn.Module) -> nn.Module:
    """A part that stays dense, with memory of its own."""
    assert isinstance(dense, nn.Linear)
    return as_linear(_own(dense.weight), None if dense.bias is None else _own(dense.bias))


def _own(parameter: Tensor) -> Tensor:
    return parameter.detach().clone().requires_grad_(parameter.requires_grad)


def _set(new: nn.Module, parts: Mapping[str, nn.Module]) -> None:
    for name, part in parts.items():
        assert isinstance(part, (nn.Linear, TNLinear, TNModule))
        setattr(new, name, part)


def _projections(module: nn.MultiheadAttention) -> dict[str, nn.Module]:
    biases: tuple[Tensor | None, ...] = (None, None, None)
    if module.in_proj_bias is not None:
        requires = module.in_proj_bias.requires_grad
        biases = tuple(bias.requires_grad_(requires) for bias in module.in_proj_bias.detach().chunk(3))
    if module.in_proj_weight is not None:
        requires = module.in_proj_weight.requires_grad
        weights = [weight.requires_grad_(requires) for weight in module.in_proj_weight.detach().chunk(3)]
    else:
        weights = [_tensor(module, f"{name}_proj_weight") for name in "qkv"]
    parts = {f"{name}_proj": as_linear(w, b) for name, w, b in zip("qkv", weights, biases, strict=True)}
    return {**parts, "out_proj": as_linear(module.out_proj.weight, module.out_proj.bias)}


def _tensor(module: nn.Module, name: str) -> Tensor:
    value = getattr(module, name)
    assert isinstance(value, Tensor)
    return value


def parameters_of(module: nn.Module) -> int:
    """Entries of the parameters of a module, each once."""
    return sum(parameter.numel() for parameter in module.parameters())


def itemsize(tensor: Tensor) -> int:
    """Bytes per entry."""
    return torch.empty((), dtype=tensor.dtype).element_size()
