"""Refusals: every error that tnlayers raises on purpose is a `TNLayersError`.

A message has up to four parts: what was asked, in the caller's words and numbers; what is required; what would mend it,
as code; and what the mend costs, if anything. It has `LONGEST` characters at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 2000  # characters of a message: what a person reads, however long the value that it quotes


def shortened(text: str, most: int = LONGEST) -> str:
    """A text of at most `most` characters: the middle of a longer one is left out, which is reported.

    Example:
        >>> len(shortened("bond=" + "9" * 5000 + " is too large."))
        2000
    """
    if len(text) <= most:
        return text
    gap = f" [... {len(text) - most} characters and more left out ...] "
    tail = (most - len(gap)) // 3  # what is required and what would mend it come last
    return text[: most - len(gap) - tail] + gap + text[len(text) - tail :]


def did_you_mean(word: object, names: Iterable[str]) -> str:
    """A question for a slip of the pen, with a space before it; nothing where no name is near.

    Example:
        >>> did_you_mean("mop", ("mpo", "ring")), did_you_mean("anything", ("mpo", "ring"))
        (" Did you mean 'mpo'?", '')
    """
    near = get_close_matches(str(word)[:100].lower(), list(names), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class TNLayersError(ValueError):
    """Something asked of tnlayers cannot be done as asked; the message says what would mend it.

    It derives from `ValueError`, so code that already guards against bad values catches it too.

    Example:
        >>> import tnlayers as tnl
        >>> try:
        ...     tnl.spec("mpo(in=4x7, out=4x4, bond=0)")
        ... except tnl.TNLayersError as error:
        ...     print("bond" in str(error))
        True
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(shortened(part) if isinstance(part, str) else part for part in parts))


class TNLayersWarning(UserWarning):
    """Something was adjusted to the nearest thing that is possible: a bond clipped, a size padded, a core dropped."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*(shortened(part) if isinstance(part, str) else part for part in parts))
