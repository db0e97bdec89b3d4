"""Refusals: every error that tnlayers raises on purpose is a `TNLayersError`.

A message has up to four parts: what was asked, in the caller's words and numbers; what is required; what would mend it,
as code; and what the mend costs, if anything.
"""

from __future__ import annotations


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


class TNLayersWarning(UserWarning):
    """Something was adjusted to the nearest thing that is possible: a bond clipped, a size padded, a core dropped."""
