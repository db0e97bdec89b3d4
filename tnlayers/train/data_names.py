"""The names of data sets, known without loading any; what is none of them and looks like a path is a file of text."""

from __future__ import annotations

IMAGES = ("digits", "mnist", "fashion-mnist", "cifar10")
TEXTS = ("shakespeare", "sonnets")
DATA = (*IMAGES, *TEXTS)


def is_path(name: str) -> bool:
    r"""Whether this is the path of a file: it has a dot or a slash in it, as no name of a data set has.

    Example:
        >>> [is_path(name) for name in ("mnist", "minst", "mine.txt", "./mine", "texts\\mine", "shakespeare")]
        [False, False, True, True, True, False]
    """
    return any(character in name for character in "./\\")
