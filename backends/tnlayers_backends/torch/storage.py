"""How torch layers travel: the kinds of layer by name, and arrays as bytes.

A kind of layer is one entry of `KINDS`: the class, the dense class that it stands in for, and the attributes that make
it beside its spec. Saving, loading and replacing go by this table alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.base import Parts, Storage
from tnlayers_backends.torch.linear import MPOLinear, TNLinear, from_spec
from tnlayers_backends.torch.module import TNModule


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """One kind of layer.

    Attributes:
        classes: Its classes, which differ only in how they are made; the first is what loading makes.
        build: Makes one: `build(spec, dtype="float32", device=..., **keywords)`.
        keywords: The attributes of a layer that `build` takes as keywords; numbers, texts, and tuples of them.
        replaces: The dense class in whose place such a layer stands.
        sizes: Attributes that the layer and the dense module have alike, and that must agree between the two.
    """

    classes: tuple[type[TNModule], ...]
    build: Callable[..., TNModule]
    keywords: tuple[str, ...] = ()
    replaces: type[nn.Module]
    sizes: tuple[str, ...]


KINDS = {
    "linear": LayerKind(
        classes=(TNLinear, MPOLinear), build=from_spec, replaces=nn.Linear, sizes=("in_features", "out_features")
    ),
}


def kind_of(layer: object) -> str:
    """The kind of a layer.

    Raises:
        TNLayersError: If it is none, or of a class derived from one: nobody could tell what the class adds.
    """
    for name, kind in KINDS.items():
        if type(layer) in kind.classes:
            return name
    known = ", ".join(one.__name__ for kind in KINDS.values() for one in kind.classes)
    raise TNLayersError(
        f"{type(layer).__qualname__} is no layer that tnlayers could put together again; it knows {known}. Save its "
        "state_dict(), or build it of these."
    )


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one.
    """
    kind = kind_of(layer)
    assert isinstance(layer, TNModule)
    keywords = {name: getattr(layer, name) for name in KINDS[kind].keywords}
    return Parts(kind, keywords, layer.spec, layer.state_dict(keep_vars=True))


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
    keywords = {key: tuple(v) if isinstance(v, list) else v for key, v in parts.keywords.items()}
    layer = kind.build(parts.spec, dtype=dtype_name(core), device="meta", **keywords)  # nothing is drawn in vain
    expected = layer.state_dict()
    if expected.keys() != parts.arrays.keys():
        raise TNLayersError(
            f"{str(parts.spec)[:120]} has the arrays {', '.join(expected)}, but given are {', '.join(parts.arrays)}."
        )
    for name, array in parts.arrays.items():
        if array.shape != expected[name].shape:
            raise TNLayersError(f"{name!r} has shape {tuple(array.shape)}; it needs {tuple(expected[name].shape)}.")
    layer.load_state_dict(dict(parts.arrays), strict=True, assign=True)
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
