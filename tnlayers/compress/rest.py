"""What no network can replace: parameters of other modules, named with their sizes, largest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN = 10  # in a report
_NAMED = 5  # in an error
_SMALL = 0.01  # of the model: vectors below it are not named one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """One parameter that stays as it is.

    Attributes:
        name: Its name in the model.
        kind: The class of the module that has it, or why the weight stays dense.
        shape: Its shape.
        parameters: Its entries.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.shape)) or "1"
        return f"{self.name[:80]} ({self.kind[:80]}, {sizes}): {self.parameters:,}"


def largest_first(parts: Iterable[Rest]) -> tuple[Rest, ...]:
    """The largest first; among equals, in the order given."""
    return tuple(sorted(parts, key=lambda part: -part.parameters))


def lines(parts: Sequence[Rest], model: int) -> list[str]:
    """What a report says of them: matrices and what is large by name, all others together.

    Args:
        parts: Largest first.
        model: Parameters of the whole model.

    Example:
        >>> lines([Rest(name="up.weight", kind="ConvTranspose2d", shape=(8, 4, 2, 2), parameters=256)], 1000)
        ['Stays as it is, 256 parameters of other modules:', '  up.weight (ConvTranspose2d, 8x4x2x2): 256']
    """
    if not parts:
        return []
    named = [part for part in parts if len(part.shape) > 1 or part.parameters > _SMALL * model][:_SHOWN]
    left = len(parts) - len(named)
    more = sum(part.parameters for part in parts) - sum(part.parameters for part in named)
    ends = [f"  {left} smaller ones: {more:,}"] if left else []
    total = sum(part.parameters for part in parts)
    return [f"Stays as it is, {total:,} parameters of other modules:", *(f"  {part}" for part in named), *ends]


def named(parts: Sequence[Rest]) -> str:
    """What an error says of them; "" where there are none."""
    if not parts:
        return ""
    left = parts[_NAMED:]
    more = f"; and {len(left)} more with {sum(part.parameters for part in left):,}" if left else ""
    return f" No network can replace {'; '.join(map(str, parts[:_NAMED]))}{more}."
