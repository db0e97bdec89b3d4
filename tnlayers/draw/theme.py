"""Colours by role, light and dark, distinct to people with any common colour blindness.

The strong colours are Okabe and Ito's ("Color Universal Design", 2008). Colour is never the only sign: inputs also
stand below, outputs above, hyperedges are dots, and every size is written out.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from tnlayers.errors import TNLayersError

Theme: TypeAlias = Literal["light", "dark", "auto"]

# Role -> (light, dark).
COLOURS = {
    "paper": ("#ffffff", "#161b22"),
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9ea7b3"),
    "faint": ("#d8dee4", "#3a424d"),
    "core": ("#dcecf7", "#143a55"),
    "core-line": ("#0072b2", "#56b4e9"),
    "bond": ("#6e7781", "#8b949e"),
    "hyper": ("#b0568a", "#cc79a7"),
    "input": ("#009e73", "#2cc295"),
    "output": ("#d55e00", "#f0843c"),
    "weights": ("#0072b2", "#56b4e9"),
    "batch": ("#e69f00", "#e69f00"),
    "flops": ("#0072b2", "#56b4e9"),
    "bytes": ("#009e73", "#2cc295"),
    "copies": ("#cc79a7", "#cc79a7"),
    "memory": ("#a9d6f2", "#2b5f80"),
    "kept": ("#d55e00", "#f0843c"),
    # Sizes of entries, from none to the largest: one hue, of lightness alone.
    "heat-0": ("#f2f6fa", "#1b222b"),
    "heat-1": ("#d6e6f4", "#1c3144"),
    "heat-2": ("#b4d3ea", "#1d425f"),
    "heat-3": ("#8abbdd", "#21577d"),
    "heat-4": ("#5c9fcc", "#2d709d"),
    "heat-5": ("#3581b8", "#4a90bd"),
    "heat-6": ("#17629d", "#79b3d8"),
    "heat-7": ("#084579", "#aed4ee"),
    "heat-8": ("#04294a", "#e3f1fb"),
}
HEAT = tuple(role for role in COLOURS if role.startswith("heat-"))


def colour(role: str, theme: Theme) -> str:
    """The colour of a role; "auto" gives the light one, which a style sheet may override."""
    return COLOURS[role][theme == "dark"]


def check_theme(theme: str) -> Theme:
    """The theme itself.

    Raises:
        TNLayersError: If there is none of that name.
    """
    if theme not in get_args(Theme):
        raise TNLayersError(f"There is no theme {theme!r}; pictures are drawn in {', '.join(get_args(Theme))}.")
    return theme  # type: ignore[return-value]  # checked just above
