"""CIFAR-10, binary version: six files of 10,000 records, plain or as .xz, checked byte for byte and unpacked once.

    record = label (1 byte), then 1024 red, 1024 green, 1024 blue values, row by row: 3,073 bytes

A folder that the user names is only read. What is compressed there, or fetched, is unpacked into the user's cache as
the plain files; they are checked like any others, so a cache that was damaged or cut is unpacked again.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.files.atomic import replacing
from tnlayers.files.cache import cache_folder, is_cached
from tnlayers.train.data_folder import VARIABLE, first_with, named_folder

RECORD = 1 + 3 * 32 * 32
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_HASH = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFile:
    """One file of the set: its name without `.xz`, and the MD5 of its unpacked content."""

    name: str
    md5: str
    records: int = 10_000


FILES = (
    BatchFile(name="data_batch_1.bin", md5="5dd7e06a14cb22eb9f671a540d1b7c25"),
    BatchFile(name="data_batch_2.bin", md5="5ea93a67294ea407fff1d09f752e9692"),
    BatchFile(name="data_batch_3.bin", md5="942cd6a4bcdd0dd3c604fbe906cb4421"),
    BatchFile(name="data_batch_4.bin", md5="ae636b3ba5c66a11e91e8cb52e771fcb"),
    BatchFile(name="data_batch_5.bin", md5="53f37980c15c3d472c316c40844f3f0d"),
    BatchFile(name="test_batch.bin", md5="803d5f7f4d78ea53de84dbe85f74fb6d"),
)
Bytes = npt.NDArray[np.uint8]


def read(root: Path | None = None, *, files: Iterable[BatchFile] = FILES) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Read the set.

    Args:
        root: Folder that holds `cifar-10-batches-bin/`, or that folder itself, with each file plain or as `.xz`. None
            takes the environment variable TNLAYERS_DATA; if that is unset too, the archive is fetched into the cache.
        files: What to read, the test file last; the tests pass a small set.

    Returns:
        Training images (N, 3, 32, 32) and labels (N,), test images and labels, all uint8.

    Raises:
        TNLayersError: A file is missing, damaged or of the wrong size, or cannot be fetched or unpacked.
    """
    files = tuple(files)
    named = named_folder(root)
    folder = find_folder(named, files) if named is not None else None
    records = [parse(content(file, folder), file) for file in files]
    train, test = np.concatenate(records[:-1]), records[-1]
    return images(train), train[:, 0].copy(), images(test), test[:, 0].copy()


def images(records: Bytes) -> Bytes:
    """Return the images (N, 3, 32, 32) of records (N, 3073)."""
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)


def find_folder(root: Path, files: tuple[BatchFile, ...]) -> Path:
    """Return the folder at or under `root` that holds any of the files."""
    candidates = (root / FOLDER, root)
    if folder := first_with(candidates, [f"{file.name}{suffix}" for file in files for suffix in ("", ".xz")]):
        return folder
    raise TNLayersError(
        f"No CIFAR-10 files under {root}: looked for {files[0].name}, plain or as .xz, and the other {len(files) - 1} "
        f"in {' and '.join(map(str, candidates))}. Unpack {URL} there, or unset {VARIABLE} to have it downloaded into "
        "your cache."
    )


def content(file: BatchFile, folder: Path | None) -> bytes:
    """Return the checked content of a file: plain in the folder, else from the cache, else unpacked into the cache."""
    if folder is not None and (folder / file.name).is_file():
        return checked((folder / file.name).read_bytes(), file, folder / file.name)
    cached = cache_folder() / FOLDER / file.name
    with suppress(OSError):  # a cache that cannot be read is as good as none
        # Two runs may unpack at once, and a disk may lose bytes: a cache is not trusted, it is checked and made again.
        if is_cached(cached) and digest(found := cached.read_bytes()) == file.md5:
            return found
    if folder is None:
        return store(checked(from_archive(file), file, Path(ARCHIVE)), cached)
    packed = folder / f"{file.name}.xz"
    return store(checked(unpack(packed, file), file, packed), cached)


def unpack(packed: Path, file: BatchFile) -> bytes:
    """Return the content of an `.xz` file."""
    try:
        return lzma.decompress(packed.read_bytes())
    except FileNotFoundError as error:
        raise TNLayersError(
            f"{packed} is missing, and {file.name} too (MD5 {file.md5}); other files of the set are there. Copy it "
            f"there, or unset {VARIABLE} to have the whole set downloaded into your cache."
        ) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise TNLayersError(
            f"{packed} ({packed.stat().st_size} bytes) is not whole xz data: {error}. Delete it and put the original "
            "file there."
        ) from error


def from_archive(file: BatchFile) -> bytes:
    """Return a file out of the original archive, which is fetched if it is not in the cache."""
    import pooch  # only here: reading from a folder needs no download library

    try:
        archive = pooch.retrieve(URL, known_hash=ARCHIVE_HASH, fname=ARCHIVE, path=cache_folder())
        with tarfile.open(archive) as members:
            member = members.extractfile(f"{FOLDER}/{file.name}")
            if member is None:
                raise KeyError(f"{FOLDER}/{file.name} is no file")
            return member.read()
    # Network errors of requests are OSErrors; a wrong hash is a ValueError.
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise TNLayersError(
            f"Cannot download CIFAR-10 from {URL}: {error}. Unpack the archive into a folder D, so that "
            f"D/{FOLDER}/{file.name} is there, and set {VARIABLE}=D."
        ) from error


def store(found: bytes, path: Path) -> bytes:
    """Write content into the cache, whole or not at all, and return it; a cache that takes no more is warned of."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as target:
            target.write(found)
    except OSError as error:
        warnings.warn(
            f"Cannot keep unpacked files of CIFAR-10 in {path.parent} ({error.strerror}): they are unpacked again by "
            "each run. Set TNLAYERS_CACHE to a folder with room for 185 MB, or put the unpacked files beside the "
            "packed ones: they are then read as they lie.",
            TNLayersWarning,
            stacklevel=2,
        )
    return found


def checked(found: bytes, file: BatchFile, path: Path) -> bytes:
    """Return the content if it is the original, else refuse."""
    if digest(found) != file.md5:
        raise TNLayersError(
            f"{path} is damaged or another file: unpacked it has {len(found)} bytes and MD5 {digest(found)}, expected "
            f"{file.records * RECORD} and {file.md5}. Delete it and put the original file there."
        )
    return found


def digest(found: bytes) -> str:
    """Return the MD5 in hexadecimal."""
    return hashlib.md5(found, usedforsecurity=False).hexdigest()


def parse(found: bytes, file: BatchFile) -> Bytes:
    """Return the records (N, 3073) of a checked file."""
    return np.frombuffer(found, np.uint8).reshape(file.records, RECORD)
