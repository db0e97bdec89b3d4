"""What of the paper is met: measured means beside the paper's, and how many of its rows were run at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tnlayers.reproduce.cost import SEEDS
from tnlayers.reproduce.paper import PARTS, TITLES, Row, rows
from tnlayers.reproduce.recipe_text import Run, in_full
from tnlayers.reproduce.store import of

_BEGIN = """## In short

A row is met where the mean of its best test epochs is not below the paper's by more than two standard errors of the
difference: sqrt(s1^2 / n + s2^2 / 5) from the deviations of n runs here and of the paper's five; one run alone is
taken to have the paper's deviation. Only runs of the paper's recipe to its end count for that, held-out images or
none. "Best - paper" in the tables below is that difference, for every recipe.

| | rows | by the paper's recipe | of these met | by other recipes alone | not run |
| --- | --- | --- | --- | --- | --- |
"""


def against(values: Sequence[float], paper: tuple[float, float]) -> tuple[float, float]:
    """The difference of a measured mean from the paper's, and its standard error.

    Args:
        values: Accuracies in percent, one per seed.
        paper: Mean and sample standard deviation of the paper's five runs.

    Example:
        >>> [round(number, 3) for number in against([98.1, 98.3], (98.35, 0.2))]
        [-0.15, 0.134]
    """
    mean, deviation = paper
    own = statistics.stdev(values) if len(values) > 1 else deviation
    return statistics.mean(values) - mean, math.sqrt(own**2 / len(values) + deviation**2 / SEEDS)


def difference(group: Sequence[Run], row: Row) -> str:
    """The cell "best - paper" of a row's runs by one recipe; empty where the paper gives no number."""
    if row.accuracy is None:
        return ""
    apart, error = against([100 * run["best_test_accuracy"] for run in group], row.accuracy)
    return f"{apart:+.2f} ± {error:.2f}"


def in_short(runs: Sequence[Run]) -> str:
    """The section: a line per table and figure, and the rows that miss the paper."""
    lines, missed = [], []
    for part in PARTS:
        full, met, other, none = 0, 0, 0, 0
        for row in rows(part):
            groups = of(runs, row.model, row.network, row.data)
            complete = [group for group in groups if in_full(group[0])]
            full, other, none = full + bool(complete), other + bool(groups and not complete), none + (not groups)
            if complete and row.accuracy is not None:
                group = max(complete, key=len)
                apart, error = against([100 * run["best_test_accuracy"] for run in group], row.accuracy)
                met += apart >= -2 * error
                if apart < -2 * error:
                    missed.append(f"{row.model} `{row.network}` by {-apart:.2f} ± {error:.2f} ({len(group)} runs)")
        lines.append(f"| {TITLES[part]} | {full + other + none} | {full} | {met} | {other} | {none} |")
    return _BEGIN + "\n".join([*lines, "", f"Below the paper: {', '.join(missed) or 'none'}.\n"])
