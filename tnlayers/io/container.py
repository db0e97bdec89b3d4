"""safetensors files: named arrays as bytes behind a JSON header, written whole and read with every length checked.

    8 bytes          n, the length of the header, little-endian
    n bytes          {"name": {"dtype": "F32", "shape": [4, 7, 3], "data_offsets": [0, 336]}, "__metadata__": {...}}
    the rest         the arrays, row-major and little-endian, one behind the other without gaps

Two entries of `__metadata__` are ours: "tnlayers" is a JSON text that says what the arrays are, and "sha256" the digest
of that text and of all arrays, because the format itself has no checksum. It detects damage, not forgery.

The library safetensors reads these files and is compared with in the tests. It is not called here because its access to
raw bytes, which numpy without bfloat16 needs, has changed from release to release, and because nothing may be believed
of a file before its lengths, names and shapes fit together.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, NoReturn

from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import replacing

HEADER_LIMIT = 32 * 2**20  # bytes; a header of ours takes some 100 bytes per array
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_MOST_AXES = 64  # what numpy can hold
_CODES = {
    "bool": ("BOOL", 1),
    "uint8": ("U8", 1),
    "int8": ("I8", 1),
    "uint16": ("U16", 2),
    "int16": ("I16", 2),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "uint32": ("U32", 4),
    "int32": ("I32", 4),
    "float32": ("F32", 4),
    "uint64": ("U64", 8),
    "int64": ("I64", 8),
    "float64": ("F64", 8),
}
_NAMES = {code: name for name, (code, _) in _CODES.items()}
# The format has no complex128: a complex array is stored as real numbers with a last axis (real part, imaginary part).
REAL_PARTS = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An array as it lies in a file.

    Attributes:
        dtype: "float32", "bfloat16", ...
        shape: Its shape.
        data: Its entries, row-major and little-endian.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | bytearray


def refuse(path: Path, reason: str) -> NoReturn:
    """Refuse a file, with the reason and what can be done about it.

    Raises:
        TNLayersError: Always.
    """
    raise TNLayersError(f"Cannot load {path}: {reason}. Nothing was loaded; take another copy, or save it anew.")


def strict_json(text: bytes | str) -> Any:
    """Parse JSON without what Python adds to it (NaN, Infinity) and without repeated keys.

    Raises:
        ValueError: It is not such JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"a key of {sorted(found)[:5]} is there twice")
        return found

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def digest(text: str, arrays: Mapping[str, Stored]) -> str:
    """The sha256 of a header text and of all arrays with their names, dtypes and shapes, in order of name."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\n{json.dumps([name, _CODES[array.dtype][0], list(array.shape)])}\n".encode())
        found.update(array.data)
    return found.hexdigest()


def write(path: Path, text: str, arrays: Mapping[str, Stored]) -> None:
    """Write a file as a whole: the same text and arrays always give the same bytes.

    Raises:
        TNLayersError: The header is larger than `read` would take, or the file cannot be written.
    """
    # Wide dtypes first, so that every array is aligned to its own width; the header ends on a multiple of 8.
    order = sorted(arrays, key=lambda name: (-_CODES[arrays[name].dtype][1], name))
    header: dict[str, Any] = {"__metadata__": {"sha256": digest(text, arrays), "tnlayers": text}}
    position = 0
    for name in order:
        end = position + len(arrays[name].data)
        code, _ = _CODES[arrays[name].dtype]
        header[name] = {"dtype": code, "shape": list(arrays[name].shape), "data_offsets": [position, end]}
        position = end
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > HEADER_LIMIT:
        raise TNLayersError(
            f"{path} would need a header of {len(head)} bytes for {len(arrays)} arrays; the most is {HEADER_LIMIT}. "
            "Save the parts of this object in files of their own."
        )
    try:
        with replacing(path) as file:
            file.write(struct.pack("<Q", len(head)) + head)
            for name in order:
                file.write(arrays[name].data)
    except OSError as error:
        raise TNLayersError(f"Cannot write {path}: {error.strerror}. Give a file in a folder that exists.") from error


def read(path: Path) -> tuple[dict[str, str], dict[str, Stored]]:
    """Read a safetensors file: its `__metadata__`, and its arrays by name.

    Raises:
        TNLayersError: There is no such file, or it is not a safetensors file from its first byte to its last.
    """
    try:
        if not path.exists():
            raise TNLayersError(f"Cannot load {path}: there is no such file.")
        if not path.is_file():
            raise TNLayersError(f"Cannot load {path}: it is a folder or a device. Give the path of a safetensors file.")
        with open(path, "rb") as file:
            return _read(path, file)
    except OSError as error:
        raise TNLayersError(f"Cannot load {path}: {error.strerror}.") from error


def _read(path: Path, file: IO[bytes]) -> tuple[dict[str, str], dict[str, Stored]]:
    size = path.stat().st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(HEADER_LIMIT, size - 8):
        if start.startswith(_PICKLES):
            refuse(path, "it is a pickle or an archive of torch.save, which may hold code; only safetensors is read")
        damage = f"it has {size} bytes and says that {length} of them are its header (at most {HEADER_LIMIT} may be)"
        refuse(path, f"{damage}: it is cut off, damaged, or no safetensors file")
    try:
        header = strict_json(file.read(length))
    except ValueError as error:
        refuse(path, f"its header is damaged or no safetensors header ({error})")
    if not isinstance(header, dict):
        refuse(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(path, "its __metadata__ is not a table of texts")
    arrays = {}
    for name, dtype, shape, count in _in_order(path, header, size - 8 - length):
        data = bytearray(count)
        if file.readinto(data) != count:  # type: ignore[attr-defined]
            refuse(path, f"it ends within {name!r}")
        arrays[name] = Stored(dtype=dtype, shape=shape, data=data)
    return metadata, arrays


def _in_order(path: Path, header: Mapping[str, Any], size: int) -> Iterable[tuple[str, str, tuple[int, ...], int]]:
    """Name, dtype, shape and bytes of each array as they lie in the file; together they fill it exactly."""
    found = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            refuse(path, f"the entry of {name!r} does not have dtype, shape and data_offsets")
        dtype, shape, offsets = _NAMES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
        if dtype is None:
            refuse(path, f"{name!r} has dtype {str(entry['dtype'])[:20]!r}; known are {', '.join(_NAMES)}")
        if not _sizes(shape) or len(shape) > _MOST_AXES:
            refuse(path, f"{name!r} has no usable shape")
        if not _sizes(offsets) or len(offsets) != 2:
            refuse(path, f"{name!r} has no usable data_offsets")
        if offsets[1] - offsets[0] != prod(shape) * _CODES[dtype][1]:
            refuse(path, f"{name!r} of shape {tuple(shape)} and {dtype} cannot take bytes {offsets[0]} to {offsets[1]}")
        found.append((offsets[0], offsets[1], name, dtype, tuple(shape)))
    found.sort()
    ends = [0, *(end for _, end, *_ in found)]
    if [begin for begin, *_ in found] != ends[:-1] or ends[-1] != size:
        refuse(path, f"its arrays do not fill its {size} bytes of data exactly: it is cut off, padded or damaged")
    return [(name, dtype, shape, end - begin) for begin, end, name, dtype, shape in found]


def _sizes(value: object) -> bool:
    """Whether this is a list of sizes: integers of at least 0."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
