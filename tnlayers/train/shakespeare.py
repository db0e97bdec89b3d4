"""Tiny Shakespeare: parts of the plays in one file of 1,115,394 characters, found on disk or fetched once.

The file is that of Karpathy's char-rnn, which published results are of; its content is checked byte for byte.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tnlayers.errors import TNLayersError
from tnlayers.files.cache import cache_folder
from tnlayers.train.data_folder import VARIABLE, named_folder

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
BYTES = 1_115_394
PLACES = ("tinyshakespeare/input.txt", "shakespeare/input.txt", "tinyshakespeare.txt", "shakespeare.txt", "input.txt")


def read_shakespeare(root: Path | None = None) -> str:
    """Read the file.

    Args:
        root: Folder that holds it, as `tinyshakespeare/input.txt` or alike; None takes the environment variable
            TNLAYERS_DATA, and if that is unset a download into the per-user cache.

    Returns:
        Its text.

    Raises:
        TNLayersError: It is missing, has another content, or cannot be fetched.
    """
    named = named_folder(root)
    path = _fetch() if named is None else _find(named)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == BYTES else b""
    except OSError as error:
        raise TNLayersError(f"Cannot read {path}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise TNLayersError(
            f"{path} is not Tiny Shakespeare: it has {size:,} bytes for {BYTES:,}, or other ones than SHA-256 "
            f"{SHA256}. Put the file of {URL} there, or train on this one by its path: --data {path}."
        )
    return content.decode()


def _find(root: Path) -> Path:
    for place in PLACES:
        if (root / place).is_file():
            return root / place
    raise TNLayersError(
        f"No Tiny Shakespeare under {root}: looked for {', '.join(PLACES)}. Put the file of {URL} into "
        f"{root / PLACES[0]}, or unset {VARIABLE} to have it downloaded into your cache, or use `--data sonnets`, "
        "which needs no files."
    )


def _fetch() -> Path:
    import pooch  # only here: reading from a folder needs no download library

    try:
        found = pooch.retrieve(
            URL, known_hash=f"sha256:{SHA256}", fname="input.txt", path=cache_folder() / "shakespeare"
        )
    except (OSError, ValueError) as error:  # network errors of requests are OSErrors; a wrong hash is a ValueError
        raise TNLayersError(
            f"Cannot download {URL} ({error}). Put it into a folder D/{PLACES[0]} and set {VARIABLE}=D, or use "
            "`--data sonnets`, which needs no network."
        ) from error
    return Path(found)
