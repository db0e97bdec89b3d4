"""How torch layers travel: as the name of their kind, keywords, spec and arrays; and arrays as bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.base import Parts, Storage
from tnlayers_backends.torch.layers import feature_orders as orders
from tnlayers_backends.torch.layers.kinds import KINDS
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.quantised import own_class, plain_state

__all__ = ["KINDS", "STORAGE", "dtype_name", "from_bytes", "kind_name", "put_together", "take_apart", "to_bytes"]


def kind_name(layer: object) -> str:
    """The kind of a layer.

    Raises:
        TNLayersError: If it is none, or of a class derived from one: nobody could know what the class adds.
    """
    for name, kind in KINDS.items():
        if isinstance(layer, nn.Module) and own_class(layer) in kind.classes:
            return name
    known = ", ".join(one.__name__ for kind in KINDS.values() for one in kind.classes)
    raise TNLayersError(
        f"{type(layer).__qualname__} is no layer that tnlayers could put together again; it knows {known}. Save its "
        "state_dict(), or build it of these."
    )


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one, or it was pruned.
    """
    kind = kind_name(layer)
    assert isinstance(layer, TNModule)
    keywords = {name: getattr(layer, name) for name in KINDS[kind].keywords}
    arrays = plain_state(layer)
    expected = {
        *layer.spec.shapes,
        *(["bias"] if layer.spec.bias else []),
        *(orders.NAMES.keys() & arrays.keys()),
    }
    if set(arrays) != expected:
        raise TNLayersError(
            f"This {type(layer).__name__} of {layer.spec} holds {', '.join(arrays)}, not its cores alone: some are "
            "computed from other parameters. Remove the pruning first (torch.nn.utils.prune.remove)."
        )
    return Parts(kind, keywords, layer.spec, arrays, layer._map.pinned)


def put_together(parts: Parts) -> TNModule:
    """The layer of such parts; the arrays become its own.

    Raises:
        TNLayersError: If the kind is unknown, its keywords are not what it takes, or the arrays are not those it has.
    """
    kind = KINDS.get(parts.kind)
    if kind is None or set(parts.keywords) != set(kind.keywords):
        raise TNLayersError(
            f"A layer of kind {parts.kind!r} with {sorted(parts.keywords)} is not known here; known are "
            f"{ {name: list(known.keywords) for name, known in KINDS.items()} }. Use the version that made it."
        )
    core = parts.arrays[next(iter(parts.spec.shapes))]
    keywords = {key: tuple(v) if isinstance(v, list) else v for key, v in parts.keywords.items()}  # lists are JSON's
    try:
        layer = kind.build(parts.spec, dtype=core.dtype, device="meta", **keywords)  # nothing is drawn in vain
    except (ArithmeticError, TypeError, ValueError) as error:  # a file may have keywords that no caller would write
        raise TNLayersError(
            f"No layer of kind {parts.kind!r} can be made with {str(keywords)[:300]}: {error}"
        ) from error
    for name in orders.NAMES.keys() & parts.arrays.keys() if kind.ordered else ():
        setattr(layer, name, torch.empty_like(parts.arrays[name], device="meta"))
    expected = layer.state_dict()
    if expected.keys() != parts.arrays.keys():
        raise TNLayersError(
            f"{str(parts.spec)[:120]} has the arrays {', '.join(expected)}, but given are {', '.join(parts.arrays)}."
        )
    for name, array in parts.arrays.items():
        if array.shape != expected[name].shape:
            raise TNLayersError(f"{name!r} has shape {tuple(array.shape)}; it needs {tuple(expected[name].shape)}.")
    layer.load_state_dict(dict(parts.arrays), strict=True, assign=True)
    orders.check_orders(layer)
    if parts.plan is not None:
        layer._map = layer._map.with_plan(parts.plan)
    return layer


def dtype_name(array: Tensor) -> str:
    """The name of a dtype, as numpy would spell it."""
    return str(array.dtype).removeprefix("torch.")


def to_bytes(array: Tensor) -> bytes:
    """The entries of a tensor, row-major and little-endian.

    Raises:
        TNLayersError: If it has no entries here: it is sparse, quantized, on the meta device, or spread over processes.
    """
    plain = array.detach()
    if type(plain) is not Tensor or plain.layout != torch.strided or plain.is_meta or plain.is_quantized:
        raise TNLayersError(
            f"A {type(plain).__name__} on {plain.device} (layout {plain.layout}) cannot be saved: it is no ordinary "
            "tensor that holds its entries. Make it one first: full_tensor(), dequantize(), to_dense() or to_empty()."
        )
    flat = plain.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def from_bytes(data: bytes | bytearray, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor from its entries.

    Raises:
        TNLayersError: If torch has no such dtype.
    """
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise TNLayersError(f"torch has no dtype {dtype!r}.")
    if not data:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=kind).reshape(shape)


STORAGE = Storage(take_apart=take_apart, put_together=put_together, to_bytes=to_bytes, from_bytes=from_bytes)
