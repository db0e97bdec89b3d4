"""The section of the page on MPO forms against their dense twins, trained by one recipe on one kind of hardware."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tnlayers.reproduce.paper import ROWS, Row
from tnlayers.reproduce.recipe_text import Run, accelerated, recipe_name
from tnlayers.reproduce.store import of, spread

_BEGIN = """## MPO against its dense twin

Where both were run by one recipe and on one kind of hardware: the accuracy after the last epoch, which nothing was
chosen by, and MPO minus dense in points with the standard error of that difference, sqrt(s1^2 / n1 + s2^2 / n2) from
the deviations over seeds; none where one of them has one seed. FC2 with bond 16.

| model | recipe | epochs | seeds: dense, MPO | dense, final % | MPO, final % | MPO - dense |
| --- | --- | --- | --- | --- | --- | --- |
"""


def twins(runs: Sequence[Run]) -> str:
    """The section: a line per pair."""
    return _BEGIN + "".join(
        line for row in ROWS if row.network in ("mpo", "mpo(bond=16)") for line in _lines(row, runs)
    )


def difference(mpo: Sequence[float], dense: Sequence[float]) -> str:
    """The difference of two means, with its standard error where each has more than one value.

    Example:
        >>> difference([98.0, 98.2], [98.4, 98.6]), difference([91.3], [91.5])
        ('-0.40 ± 0.14', '-0.20')
    """
    apart = statistics.mean(mpo) - statistics.mean(dense)
    if min(len(mpo), len(dense)) < 2:
        return f"{apart:+.2f}"
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (mpo, dense)))
    return f"{apart:+.2f} ± {error:.2f}"


def _lines(row: Row, runs: Sequence[Run]) -> list[str]:
    twin = row.model.removesuffix("-conv").removesuffix("-unit")
    dense = {(recipe_name(group[0]), accelerated(group[0])): group for group in of(runs, twin, "dense", row.data)}
    lines = []
    for group in of(runs, row.model, row.network, row.data):
        other = dense.get((recipe_name(group[0]), accelerated(group[0])))
        if other is not None:
            ours, theirs = ([100 * run["final_test_accuracy"] for run in one] for one in (group, other))
            recipe = f"{recipe_name(group[0])}{', GPU' if accelerated(group[0]) else ''}"
            lines.append(
                f"| {row.model} | {recipe} | {group[0]['recipe']['epochs']} | {len(theirs)}, {len(ours)} | "
                f"{spread(theirs)} | {spread(ours)} | {difference(ours, theirs)} |\n"
            )
    return lines
