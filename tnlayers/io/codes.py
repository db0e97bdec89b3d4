"""Arrays that files hold as codes of 8 or 4 bits: `name.codes` and `name.scales` in the place of `name`.

The header's "quantised" says of each name its bits, dtype and shape. Torch keeps the codes; other backends get the
numbers that they stand for, which are the same: a code times its scale is exact in single precision, and is rounded
once to the array's dtype. `backends/tnlayers_backends/torch/layers/codes.py` has the layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tnlayers.io.container import Stored, refuse

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_STORED = {8: "int8", 4: "uint8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One array in codes, as it lies in a file.

    Attributes:
        bits: 8 or 4.
        dtype: Of the array that the codes stand for.
        shape: Of that array.
        codes: Of shape (groups, bytes of a group).
        scales: One for each group.
    """

    bits: int
    dtype: str
    shape: tuple[int, ...]
    codes: Stored
    scales: Stored


def pack_codes(
    arrays: Mapping[str, Stored], packed: Mapping[str, Packed]
) -> tuple[dict[str, Stored], dict[str, list[Any]]]:
    """The arrays as they are stored, some of them as codes, and what the header says of these."""
    found = {name: array for name, array in arrays.items() if name not in packed}
    for name, one in packed.items():
        found[f"{name}.codes"], found[f"{name}.scales"] = one.codes, one.scales
    return found, {name: [one.bits, one.dtype, list(one.shape)] for name, one in packed.items()}


def unpack_codes(
    path: Path, said: Mapping[str, Any], arrays: Mapping[str, Stored]
) -> tuple[dict[str, Stored], dict[str, Packed]]:
    """The arrays with the numbers of codes under their names, and the codes.

    Raises:
        TNLayersError: If what the header says is damaged, or the file has no such codes.
    """
    found, packed = dict(arrays), {}
    for name, entry in said.items():
        bits, dtype, shape = _entry(path, name, entry)
        codes, scales = found.pop(f"{name}.codes", None), found.pop(f"{name}.scales", None)
        if name in found or codes is None or scales is None:
            refuse(path, f"{name!r} is said to be codes, but the file has not exactly its codes and its scales")
        size, per = prod(shape), 8 // bits
        entries = prod(codes.shape) * per
        right = codes.dtype == _STORED[bits] and len(codes.shape) == 2 and min(codes.shape) > 0
        right = right and scales.dtype in _DTYPES and scales.shape == codes.shape[:1]
        if not right or not entries - codes.shape[1] * per < size <= entries:
            refuse(path, f"the codes of {name!r} are none of {bits} bits of an array of shape {shape}")
        packed[name] = Packed(bits=bits, dtype=dtype, shape=shape, codes=codes, scales=scales)
        found[name] = decoded(packed[name])
    return found, packed


def decoded(one: Packed) -> Stored:
    """The array that codes stand for.

    Example:
        >>> codes = Stored(dtype="int8", shape=(1, 4), data=bytes([127, 129, 2, 0]))
        >>> scales = Stored(dtype="float32", shape=(1,), data=np.float32([0.5]).tobytes())
        >>> array = decoded(Packed(bits=8, dtype="float32", shape=(3,), codes=codes, scales=scales))
        >>> np.frombuffer(array.data, np.float32).tolist()
        [63.5, -63.5, 1.0]
    """
    raw = np.frombuffer(one.codes.data, np.dtype(one.codes.dtype)).reshape(one.codes.shape)
    codes = raw if one.bits == 8 else np.stack((raw & 15, raw >> 4), -1).reshape(len(raw), -1).astype(np.int8) - 8
    with np.errstate(over="ignore", invalid="ignore"):  # what a forged file may hold, as any array may
        values = (codes.astype(np.float32) * _floats(one.scales)[:, None]).reshape(-1)[: prod(one.shape)]
        data = _brief(values) if one.dtype == "bfloat16" else values.astype(np.dtype(one.dtype).newbyteorder("<"))
    return Stored(dtype=one.dtype, shape=one.shape, data=data.tobytes())


def _floats(scales: Stored) -> np.ndarray:
    if scales.dtype == "bfloat16":  # the upper half of a number in single precision
        return (np.frombuffer(scales.data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(scales.data, np.dtype(scales.dtype).newbyteorder("<")).astype(np.float32)


def _brief(values: np.ndarray) -> np.ndarray:
    """Numbers in single precision rounded to the nearest bfloat16, ties to even, as its bits."""
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).astype("<u2")


def _entry(path: Path, name: str, entry: object) -> tuple[int, str, tuple[int, ...]]:
    if not isinstance(entry, list) or len(entry) != 3:
        refuse(path, f"what its header says of the codes of {name!r} is not bits, dtype and shape")
    bits, dtype, shape = entry
    sizes = isinstance(shape, list) and len(shape) <= 64 and all(type(size) is int and size > 0 for size in shape)
    if bits not in _STORED or isinstance(bits, bool) or dtype not in _DTYPES or not sizes:
        refuse(path, f"its header says {str(entry)[:80]} of the codes of {name!r}, which is no such array")
    return bits, dtype, tuple(shape)
