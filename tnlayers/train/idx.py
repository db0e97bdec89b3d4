"""IDX, the file format of MNIST: a magic number, the sizes, then raw bytes.

    00 00 08 NN   two zeros, 08 = unsigned byte, NN = number of axes
    size 0 .. size NN-1   each a big-endian 32-bit integer
    data, row-major, exactly prod(sizes) bytes

A file is read whole or refused: no partly filled array ever leaves this module.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError

UNSIGNED_BYTE = 0x08


def read_bytes(path: Path, *, md5: str | None = None) -> bytes:
    """Read a file, unpack it if its name ends in `.gz`, and check the MD5 of its content.

    Args:
        path: The file, gzip-compressed or plain.
        md5: The MD5 that the unpacked content must have, in hexadecimal; None skips the check.

    Returns:
        The unpacked content.

    Raises:
        TNLayersError: The file is absent or unreadable, is not whole gzip data, or its content has another MD5.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TNLayersError(f"Cannot read {path}: {error.strerror or error}. Put the file there again.") from error
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise TNLayersError(
                f"{path} ({len(content)} bytes) is not whole gzip data: {error}. Delete it and put the original file "
                "there."
            ) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise TNLayersError(
            f"{path} is damaged or another file: the MD5 of its content ({len(content)} bytes) is {found}, expected "
            f"{md5}. Delete it and put the original file there."
        )
    return content


def parse(content: bytes, *, shape: tuple[int, ...], source: str) -> npt.NDArray[np.uint8]:
    """Turn the bytes of an IDX file into an array of known shape.

    Args:
        content: The unpacked file.
        shape: The sizes the file must state; -1 leaves an axis open.
        source: Name of the file, for messages.

    Returns:
        A read-only uint8 array of the stated sizes.

    Raises:
        TNLayersError: Wrong magic number, other sizes than asked, or fewer or more bytes than the sizes say.

    Example:
        >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]), shape=(-1,), source="labels").tolist()
        [5, 7]
    """
    axes = len(shape)
    magic = bytes([0, 0, UNSIGNED_BYTE, axes])
    start = 4 + 4 * axes
    if content[:4] != magic or len(content) < start:
        raise TNLayersError(
            f"{source} is not an IDX file of unsigned bytes with {axes} axes: it has {len(content)} bytes and starts "
            f"with 0x{content[:4].hex()}, expected 0x{magic.hex()} and at least {start} bytes. Put the original "
            "file there."
        )
    sizes = struct.unpack(f">{axes}I", content[4:start])
    if any(asked not in (-1, size) for asked, size in zip(shape, sizes, strict=True)):
        asked = " x ".join("any" if size == -1 else str(size) for size in shape)
        stated = " x ".join(map(str, sizes))
        raise TNLayersError(f"{source} states sizes {stated}, expected {asked}. It belongs to another data set.")
    if len(content) - start != math.prod(sizes):
        raise TNLayersError(
            f"{source} states sizes {' x '.join(map(str, sizes))} = {math.prod(sizes)} bytes of data but holds "
            f"{len(content) - start}. It was cut or changed: put the original file there."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)
