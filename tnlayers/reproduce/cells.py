"""Cells of the page's tables: what was measured for a group of runs, and how numbers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tnlayers.reproduce.recipe_text import Run, accelerated, recipe_name
from tnlayers.reproduce.store import spread

MEASURED = "best % | final % | chosen % | recipe | epochs | seeds | commits | hardware"
Structure = Mapping[str, Mapping[str, Mapping[str, Any]]]


def measured(group: Sequence[Run]) -> str:
    """The cells of `MEASURED` for runs of one network by one recipe."""
    best, final = (spread([100 * run[f"{kind}_test_accuracy"] for run in group]) for kind in ("best", "final"))
    seeds = ", ".join(str(run["seed"]) for run in group)
    commits = ", ".join(f"`{commit[:7]}`" for commit in dict.fromkeys(run["commit"] or "unknown" for run in group))
    hardware = "; ".join(dict.fromkeys(map(_hardware, group)))
    chosen = [100 * run["chosen_test_accuracy"] for run in group if "chosen_test_accuracy" in run]
    cells = (best, final, spread(chosen) if chosen else "", recipe_name(group[0]), group[0]["recipe"]["epochs"], seeds)
    return " | ".join(map(str, (*cells, commits, hardware)))


def _hardware(run: Run) -> str:
    threads = "" if accelerated(run) else f", {run['threads']} thread{'' if run['threads'] == 1 else 's'}"
    return f"{run['device']}{threads}"


def rho(value: float) -> str:
    """A compression ratio with three or four digits that say something.

    Example:
        >>> rho(0.07667), rho(0.000463)
        ('0.0767', '0.000463')
    """
    return f"{value:.4f}" if value >= 0.01 else f"{value:.6f}"


def seconds(value: float) -> str:
    """A time with three digits.

    Example:
        >>> seconds(0.01234), seconds(3.456)
        ('12.3 ms', '3.46 s')
    """
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
