"""Texts as data sets: tokens in their order, the first nine tenths for training, the last one held out for test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError
from tnlayers.train.shakespeare import read_shakespeare
from tnlayers.train.sonnets import SONNETS
from tnlayers.train.tokens import Tokens, learn_tokens

SHORTEST = 200  # characters
LONGEST = 2**30  # bytes

# Texts by name; any other is the path of a file.
READERS: dict[str, Callable[[Path | None], str]] = {
    "shakespeare": read_shakespeare,
    "sonnets": lambda root: SONNETS,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A stretch of a text.

    Attributes:
        tokens: (N,) int64, in their order.
        characters: How many characters they stand for.
    """

    tokens: npt.NDArray[np.int64]
    characters: int

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Text({len(self)} tokens)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextDataset:
    """A text, cut into a part for training, one for test, and what is held out of training, if anything is.

    Attributes:
        name: "shakespeare", "sonnets", or the path of a file.
        train: The first nine tenths of the characters, less what is held out.
        test: The rest.
        code: How its characters are written as tokens.
        sha256: Of the whole text in UTF-8.
        validation: The end of the first nine tenths, if it is held out.
    """

    name: str
    train: Text
    test: Text
    code: Tokens
    sha256: str
    validation: Text | None = None

    def hold_out(self, count: int) -> TextDataset:
        """The same with so many tokens at the end of the training part held out, to choose by.

        Raises:
            TNLayersError: Nothing would be left to train on.
        """
        if count == 0:
            return self
        if count >= len(self.train):
            raise TNLayersError(
                f"validation={count} leaves nothing of {len(self.train)} training tokens. Use --validation 0."
            )
        kept, held = self.train.tokens[:-count], self.train.tokens[-count:]
        characters = len(self.code.decode(held))
        return replace(
            self,
            train=Text(tokens=kept, characters=self.train.characters - characters),
            validation=Text(tokens=held, characters=characters),
        )


def load_text(name: str, *, root: Path | None = None, tokens: str = "characters") -> TextDataset:
    """Load a text as tokens.

    Args:
        name: "shakespeare" (1,115,394 characters), "sonnets" (seven of them, which come with the library), or the path
            of a text file in UTF-8.
        root: Folder with the files of named sets; None means the environment variable TNLAYERS_DATA, and if that is
            unset a download into the per-user cache.
        tokens: "characters", or "bpe-N" for N byte pairs learnt from the training part.

    Returns:
        The text, nothing held out of its training part.

    Raises:
        TNLayersError: The file is missing, is no text, is too short, or is not the one it should be.

    Example:
        >>> sonnets = load_text("sonnets")
        >>> sonnets.code.vocabulary, sonnets.train, sonnets.test
        (54, Text(3861 tokens), Text(430 tokens))
    """
    text = READERS[name](root) if name in READERS else read_text(Path(name))
    if len(text) < SHORTEST:
        raise TNLayersError(
            f"data={name!r} has {len(text)} characters: too short to train on and to hold a tenth out. It takes "
            f"{SHORTEST} at least, and many thousands to learn from."
        )
    cut = len(text) * 9 // 10
    training, rest = text[:cut], text[cut:]
    code = learn_tokens(tokens, text, training)
    if code.vocabulary < 2:
        raise TNLayersError(f"data={name!r} has one character alone, {text[0]!r}: there is nothing to predict.")
    return TextDataset(
        name=name,
        train=Text(tokens=code.encode(training), characters=len(training)),
        test=Text(tokens=code.encode(rest), characters=len(rest)),
        code=code,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def read_text(path: Path) -> str:
    """The content of a text file; line ends of other systems become those of this one.

    Raises:
        TNLayersError: It is missing, a folder, larger than a gigabyte, or not text in UTF-8.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise TNLayersError(f"data={str(path)!r} has more than {LONGEST} bytes. Give a part of it.")
        content = path.read_bytes() if path.is_file() else None
    except (OSError, ValueError) as error:  # the latter for a path with a null byte
        raise TNLayersError(f"Cannot read data={str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error
    if content is None:
        raise TNLayersError(f"Cannot read data={str(path)!r}: it is no file. Give the path of a text file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TNLayersError(
            f"data={str(path)!r} is not text in UTF-8: byte {error.start} is 0x{content[error.start]:02x}. Save it as "
            "UTF-8, or give another file."
        ) from error
    if "\0" in text:
        raise TNLayersError(f"data={str(path)!r} has null bytes: it is no text. Give a text file.")
    return text.replace("\r\n", "\n")
