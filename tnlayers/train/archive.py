"""Reading an archive of `torch.save` that holds plain values and tensors, and nothing that could do anything.

torch.load(weights_only=True) runs no code either, but it allocates what a pickle asks for: 64 GB for a few bytes.
Here a tensor has no more entries than the file has for it, every checksum is compared, nothing in the file is
compressed, and of pickle's instructions those are known that such values need, none of which allocates. Their number,
and that of members and tensors, is bounded, so that a file is refused in a second or two and a fraction of a gigabyte.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_INSTRUCTIONS = {
    *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}

_DIRECTORY = 2**21  # bytes of the archive's table of its members: about 20,000 of them
_MOST_INSTRUCTIONS = 1_500_000  # an epoch of the history takes 22 of them, and a recipe has 50,000 at most
_MOST_TENSORS = 50_000
_SHARED = 16  # times the file's size: what all tensors may have together, as some lie on one storage
_LONGEST_INTEGER = 9  # bytes; more could have equal hashes in any number


class _Bounded(io.FileIO):
    """A file that reads at most so many bytes at once."""

    most: int | None = _DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if self.most is not None and size > self.most:
            raise zipfile.BadZipFile(f"its table of members takes more than {self.most} bytes")
        return super().read(size)


def load(path: Path) -> Any:
    """Read what `torch.save` wrote, tensors on the CPU.

    Raises:
        Exception: Of many kinds, if the file is damaged, or holds anything else; its text says what.
    """
    if not path.is_file():
        raise OSError("it is no regular file")
    with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
        file.most = None
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise zipfile.BadZipFile("it has compressed members, as torch.save writes none")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise zipfile.BadZipFile("its members are larger than the file")
        broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {broken}")
        (pickled,) = [member.filename for member in members if member.filename.endswith("/data.pkl")]
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its bytes are in an order other than little-endian")
        data = archive.read(pickled)
        _check_instructions(data)
        return _Reader(archive, folder, data, room=_SHARED * path.stat().st_size).load()


def _check_instructions(data: bytes) -> None:
    """Refuse instructions that plain values and tensors do not need, and places in the memo that waste memory."""
    count = 0
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data), start=1):
        if instruction.name not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(f"its pickle has the instruction {instruction.name}")
        if count > _MOST_INSTRUCTIONS:
            raise pickle.UnpicklingError(f"its pickle has more than {_MOST_INSTRUCTIONS} instructions")
        if instruction.name == "LONG1" and abs(int(argument or 0)) >> (8 * _LONGEST_INTEGER):
            raise pickle.UnpicklingError(f"its pickle has an integer of more than {_LONGEST_INTEGER} bytes")
        if instruction.name == "LONG_BINPUT" and int(argument or 0) > count:
            raise pickle.UnpicklingError(f"its pickle puts value {argument} after {count} instructions")


class _Reader(pickle.Unpickler):
    """Unpickles plain values, ordered dictionaries and tensors."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, data: bytes, room: int) -> None:
        super().__init__(io.BytesIO(data))
        self.archive, self.folder, self.room = archive, folder, room
        self.storages: dict[str, Tensor] = {}
        self.tensors = 0

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        raise pickle.UnpicklingError(f"its pickle asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("its pickle refers to something that is no storage")
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self.storages[key] = flat
        found = self.storages[key]
        if found.dtype != dtype or found.numel() != count:
            raise pickle.UnpicklingError(f"storage {key} has {found.numel()} entries of {found.dtype}")
        return found

    def tensor(
        self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
    ) -> Tensor:
        """The tensor of such places in a storage; torch checks that they lie in it."""
        if not isinstance(storage, Tensor) or prod(size) > storage.numel():
            raise pickle.UnpicklingError(f"a tensor of shape {size} is larger than its storage")
        self.tensors += 1
        self.room -= prod(size) * storage.element_size()
        if self.tensors > _MOST_TENSORS or self.room < 0:
            raise pickle.UnpicklingError("its tensors are more than a file of its size has")
        return torch.as_strided(storage, size, stride, offset)
