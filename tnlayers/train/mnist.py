"""MNIST: the four original files, found on disk or fetched once, and checked byte for byte by MD5.

A folder that the user names is only read. Without one, the files are fetched into pooch's per-user cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError
from tnlayers.train import idx

VARIABLE = "TNLAYERS_DATA"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One file of the set: its name without `.gz`, the sizes it states, and its MD5 packed and unpacked."""

    name: str
    shape: tuple[int, ...]
    md5_packed: str
    md5_unpacked: str


FILES = (
    RawFile(
        name="train-images-idx3-ubyte",
        shape=(60000, 28, 28),
        md5_packed="f68b3c2dcbeaaa9fbdd348bbdeb94873",
        md5_unpacked="6bbc9ace898e44ae57da46a324031adb",
    ),
    RawFile(
        name="train-labels-idx1-ubyte",
        shape=(60000,),
        md5_packed="d53e105ee54ea40749a09fcbcd1e9432",
        md5_unpacked="a25bea736e30d166cdddb491f175f624",
    ),
    RawFile(
        name="t10k-images-idx3-ubyte",
        shape=(10000, 28, 28),
        md5_packed="9fb629c4189551a2d022fa330f9573f3",
        md5_unpacked="2646ac647ad5339dbf082846283269ea",
    ),
    RawFile(
        name="t10k-labels-idx1-ubyte",
        shape=(10000,),
        md5_packed="ec29112dd5afa0611ce80d1b7f02629c",
        md5_unpacked="27ae3e4e09519cfbb04c329615203637",
    ),
)


def read(root: Path | None = None, *, files: Iterable[RawFile] = FILES) -> list[npt.NDArray[np.uint8]]:
    """Read the files of the set in the order of `files`.

    Args:
        root: Folder that holds `MNIST/raw/` (torchvision's layout), or `MNIST`, or `raw` itself. None takes the
            environment variable TNLAYERS_DATA; if that is unset too, the files are fetched into the per-user cache.
        files: What to read; the tests pass a small set.

    Returns:
        One uint8 array per file: images (N, 28, 28), labels (N,).

    Raises:
        TNLayersError: A file is missing, damaged or of the wrong size, or cannot be fetched.
    """
    named = root if root is not None else (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    files = tuple(files)
    if named is None:
        paths = [fetch(file) for file in files]
    else:
        folder = find_folder(named, files)
        paths = [find_file(folder, file) for file in files]
    return [read_one(path, file) for path, file in zip(paths, files, strict=True)]


def find_folder(root: Path, files: tuple[RawFile, ...]) -> Path:
    """Return the folder under `root` that holds the raw files: the first of the known layouts with any of them."""
    candidates = (root / "MNIST" / "raw", root / "raw", root)
    for folder in candidates:
        if any((folder / f"{file.name}{suffix}").is_file() for file in files for suffix in (".gz", "")):
            return folder
    raise TNLayersError(
        f"No MNIST files under {root}: looked for {files[0].name}.gz and the other {len(files) - 1} in "
        f"{', '.join(map(str, candidates))}. Put the {len(files)} original files into {candidates[0]}, or unset "
        f"{VARIABLE} to have them downloaded into your cache, or use `--data digits`, which needs no files."
    )


def find_file(folder: Path, file: RawFile) -> Path:
    """Return the packed file, else the unpacked one."""
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            return path
    raise TNLayersError(
        f"{folder / file.name}.gz is missing (MD5 {file.md5_packed}); other files of the set are there. Copy it there, "
        f"or unset {VARIABLE} to have all {len(FILES)} files downloaded into your cache."
    )


def fetch(file: RawFile) -> Path:
    """Return the file in the per-user cache, fetched if it is not there yet or has another MD5."""
    import pooch  # only here: reading from a folder needs no download library

    failures = []
    for mirror in MIRRORS:
        url = f"{mirror}{file.name}.gz"
        try:
            path = pooch.retrieve(
                url,
                known_hash=f"md5:{file.md5_packed}",
                fname=f"{file.name}.gz",
                path=pooch.os_cache("tnlayers") / "mnist",
            )
        except (OSError, ValueError) as error:  # network errors of requests are OSErrors; a wrong hash is a ValueError
            failures.append(f"{url}: {error}")
        else:
            return Path(path)
    raise TNLayersError(
        f"Cannot download {file.name}.gz ({'; '.join(failures)}). Put the {len(FILES)} original files into a folder "
        f"D/MNIST/raw and set {VARIABLE}=D, or use `--data digits`, which needs no network."
    )


def read_one(path: Path, file: RawFile) -> npt.NDArray[np.uint8]:
    """Read and check one file of the set."""
    md5 = file.md5_packed if path.suffix == ".gz" else file.md5_unpacked
    return idx.parse(idx.read_bytes(path, md5=md5), shape=file.shape, source=str(path))
