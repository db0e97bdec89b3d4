"""Wrong calls and flags: what separates a wrong call from a failure, and how the help shows a flag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from tnlayers.errors import TNLayersError


class WrongCall(TNLayersError):
    """The words of the call alone are wrong, whatever lies on this machine: exit status 2, not 1."""


@contextmanager
def words() -> Iterator[None]:
    """What is refused in this block is refused for the words of the call.

    Raises:
        WrongCall: For each TNLayersError in the block, with its text.

    Example:
        >>> import tnlayers as tnl
        >>> try:
        ...     with words():
        ...         tnl.spec("mpo(bond=0)")
        ... except WrongCall as error:
        ...     print(error)
        bond=0: every number must be an integer of at least 1.
    """
    try:
        yield
    except WrongCall:
        raise
    except TNLayersError as error:
        raise WrongCall(str(error)) from error


class _FlagsAsFlags:
    """A flag takes no value, so that the help shows none: typer would write <bool> beside it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of a command, --help among them."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in found:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""
        return found


class Command(_FlagsAsFlags, TyperCommand):
    """A command whose help shows flags as flags."""


class Group(_FlagsAsFlags, TyperGroup):
    """The commands, with the same help."""
