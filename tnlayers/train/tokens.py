"""Tokens: what a language model reads in place of text, and back.

`Characters` has one token for every character of the text that it was made from; `BytePairs` merges bytes that often
stand together (Sennrich et al., arXiv 1508.07909), by the package `tokenizers`, and knows every text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tnlayers.errors import TNLayersError, shortened
from tnlayers.files.documents import UnreadableText, load_json

BYTES = 256  # tokens that byte pairs begin with
MOST = 2**16
FORM = re.compile(r"characters|bpe-(\d{1,6})")


class Tokens(Protocol):
    """A way to write texts as tokens."""

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are."""
        ...

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The tokens (N,) of a text, each from 0 to vocabulary - 1."""
        ...

    def decode(self, tokens: npt.NDArray[np.int64]) -> str:
        """The text of tokens (N,)."""
        ...

    def to_json(self) -> str:
        """All of it as text, which `tokens_from_json` reads."""
        ...


@dataclass(frozen=True, slots=True)
class Characters:
    """One token for each character.

    Attributes:
        symbols: The characters, sorted; the place of each is its token.

    Example:
        >>> tokens = Characters.of("to be or not")
        >>> tokens.symbols, tokens.encode("bee").tolist(), tokens.decode(np.array([1, 2, 2]))
        (' benort', [1, 2, 2], 'bee')
    """

    symbols: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Those that a text has."""
        return cls("".join(sorted(set(text))))

    @property
    def vocabulary(self) -> int:
        """How many characters it knows."""
        return len(self.symbols)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The tokens (N,) of a text.

        Raises:
            TNLayersError: It has a character that is not among the symbols.
        """
        if unknown := sorted(set(text) - set(self.symbols)):
            raise TNLayersError(
                f"{shortened(', '.join(map(repr, unknown)), 200)}: not among the {len(self.symbols)} characters that "
                f"the model was trained on, which are {shortened(repr(self.symbols), 400)}. Leave them out, or train "
                "with --tokens bpe-512, which knows every text."
            )
        codes = np.array([ord(symbol) for symbol in self.symbols])  # sorted by code, as Python sorts characters
        places = np.searchsorted(codes, np.frombuffer(text.encode("utf-32-le"), dtype="<u4"))
        return places.astype(np.int64)

    def decode(self, tokens: npt.NDArray[np.int64]) -> str:
        """The text of tokens (N,)."""
        return "".join(self.symbols[token] for token in tokens.tolist())

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps({"kind": "characters", "symbols": self.symbols})


class BytePairs:
    """Tokens of bytes that often stand together.

    Args:
        tokenizer: Of the package `tokenizers`, at the level of bytes.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def of(cls, text: str, vocabulary: int) -> Self:
        """Learn the pairs from a text; the result has `vocabulary` tokens, or fewer if no more pairs stand in it.

        Raises:
            TNLayersError: The number is out of range, or `tokenizers` is not installed.
        """
        if not BYTES < vocabulary <= MOST:
            raise TNLayersError(
                f"tokens='bpe-{vocabulary}': byte pairs begin with {BYTES} bytes and are {MOST} tokens at most. Give a "
                f"number from {BYTES + 1} to {MOST}, such as bpe-512."
            )
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocabulary,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([text], trainer)
        return cls(tokenizer)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_json` of the package's tokenizer gave.

        Raises:
            TNLayersError: It is no tokenizer, or `tokenizers` is not installed.
        """
        try:
            return cls(_library().Tokenizer.from_str(text))
        except TNLayersError:
            raise
        except Exception as error:  # the package raises Exception itself
            raise TNLayersError(f"The tokens are no byte pairs: {shortened(str(error), 200)}.") from error

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The tokens (N,) of a text."""
        return np.array(self._tokenizer.encode(text).ids, np.int64)

    def decode(self, tokens: npt.NDArray[np.int64]) -> str:
        """The text of tokens (N,); bytes that are no whole character are shown as U+FFFD."""
        return str(self._tokenizer.decode(tokens.tolist()))

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps({"kind": "bpe", "tokenizer": self._tokenizer.to_str()})


def learn_tokens(form: str, whole: str, training: str) -> Tokens:
    """The tokens of a text.

    Args:
        form: "characters", or "bpe-N" for N byte pairs.
        whole: All of the text: a character of its last tenth alone is a token too.
        training: The part that pairs are learnt from.

    Raises:
        TNLayersError: The form is neither, or the number of pairs is out of range.
    """
    found = FORM.fullmatch(form)
    if found is None:
        raise TNLayersError(f"tokens={form!r} must be characters, or bpe-N for N byte pairs, such as bpe-512.")
    return Characters.of(whole) if found[1] is None else BytePairs.of(training, int(found[1]))


def tokens_from_json(text: str) -> Tokens:
    """Read what `to_json` gave.

    Raises:
        TNLayersError: It is something else.

    Example:
        >>> tokens_from_json(Characters("ab").to_json())
        Characters(symbols='ab')
    """
    try:
        data = load_json(text)
    except UnreadableText as error:
        raise TNLayersError(f"The tokens of the model cannot be read: {error}.") from error
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == "characters" and isinstance(symbols := data.get("symbols"), str):
        if symbols and list(symbols) == sorted(set(symbols)):
            return Characters(symbols)
    elif kind == "bpe" and isinstance(tokenizer := data.get("tokenizer"), str):
        return BytePairs.from_text(tokenizer)
    raise TNLayersError(
        f"The tokens of the model are neither sorted characters nor byte pairs: {shortened(text, 100)}."
    )


def _library() -> Any:
    if find_spec("tokenizers") is None:
        raise TNLayersError("Byte pairs need tokenizers, not installed here. `pip install tnlayers[text]`.")
    import tokenizers

    return tokenizers
