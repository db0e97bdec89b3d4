"""MNIST and Fashion-MNIST: four files each, found on disk or fetched once, their content checked byte for byte by MD5.

The content is what is checked, as distributions pack the files anew (Debian's dataset-fashion-mnist does). A folder
that the user names is only read. Without one, the files are fetched into the user's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError
from tnlayers.files.cache import cache_folder
from tnlayers.train import idx
from tnlayers.train.data_folder import VARIABLE, first_with, named_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One file of the set: its name without `.gz`, the sizes it states, and its MD5 packed and unpacked."""

    name: str
    shape: tuple[int, ...]
    md5_packed: str
    md5_unpacked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A data set of such files.

    Attributes:
        name: As people write it.
        folders: Where it may lie under a root, the usual one first.
        mirrors: Where it can be fetched.
        files: Images and labels for training, images and labels for test.
    """

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    files: tuple[RawFile, ...]


def four_files(packed: tuple[str, ...], unpacked: tuple[str, ...]) -> tuple[RawFile, ...]:
    """Return the four files of a set of MNIST's form, with their MD5s."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    shapes: tuple[tuple[int, ...], ...] = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
    return tuple(
        RawFile(name=name, shape=shape, md5_packed=outside, md5_unpacked=inside)
        for name, shape, outside, inside in zip(names, shapes, packed, unpacked, strict=True)
    )


MNIST = Collection(
    name="MNIST",
    folders=("MNIST/raw", "raw"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files=four_files(
        packed=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        unpacked=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
)
FASHION_MNIST = Collection(
    name="Fashion-MNIST",
    folders=("FashionMNIST/raw", "fashion-mnist", "raw"),
    mirrors=("https://fashion-mnist.s3.eu-central-1.amazonaws.com/",),
    files=four_files(
        packed=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        unpacked=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
)


def read(root: Path | None = None, *, collection: Collection = MNIST) -> list[npt.NDArray[np.uint8]]:
    """Read the files of a set in their order.

    Args:
        root: Folder that holds the set (torchvision's layout, `MNIST/raw/`), or the folder of the files itself. None
            takes the environment variable TNLAYERS_DATA; if that is unset too, the files are fetched into the cache.
        collection: What to read.

    Returns:
        One uint8 array per file: images (N, 28, 28), labels (N,).

    Raises:
        TNLayersError: A file is missing, damaged or of the wrong size, or cannot be fetched.
    """
    named = named_folder(root)
    if named is None:
        paths = [fetch(file, collection) for file in collection.files]
    else:
        folder = find_folder(named, collection)
        paths = [find_file(folder, file) for file in collection.files]
    return [
        idx.parse(idx.read_bytes(path, md5=file.md5_unpacked), shape=file.shape, source=str(path))
        for path, file in zip(paths, collection.files, strict=True)
    ]


def find_folder(root: Path, collection: Collection) -> Path:
    """Return the folder under `root` that holds the raw files: the first of the known layouts with any of them."""
    files = collection.files
    candidates = (*(root / folder for folder in collection.folders), root)
    if folder := first_with(candidates, [f"{file.name}{suffix}" for file in files for suffix in (".gz", "")]):
        return folder
    raise TNLayersError(
        f"No {collection.name} files under {root}: looked for {files[0].name}.gz and the other {len(files) - 1} in "
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
        f"or unset {VARIABLE} to have all files downloaded into your cache."
    )


def fetch(file: RawFile, collection: Collection) -> Path:
    """Return the file in the cache, fetched if it is not there yet or has another MD5."""
    import pooch  # only here: reading from a folder needs no download library

    failures = []
    for mirror in collection.mirrors:
        url = f"{mirror}{file.name}.gz"
        try:
            path = pooch.retrieve(
                url,
                known_hash=f"md5:{file.md5_packed}",
                fname=f"{file.name}.gz",
                path=cache_folder() / collection.name.lower(),
            )
        except (OSError, ValueError) as error:  # network errors of requests are OSErrors; a wrong hash is a ValueError
            failures.append(f"{url}: {error}")
        else:
            return Path(path)
    raise TNLayersError(
        f"Cannot download {file.name}.gz ({'; '.join(failures)}). Put the {len(collection.files)} original files into "
        f"a folder D/{collection.folders[0]} and set {VARIABLE}=D, or use `--data digits`, which needs no network."
    )
