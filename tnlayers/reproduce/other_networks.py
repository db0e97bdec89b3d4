"""The section of the page on other network types in the places of the paper's MPOs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tnlayers.reproduce.cells import MEASURED, Structure, measured, rho, seconds
from tnlayers.reproduce.paper import OTHERS, ROWS, TYPES, Row, rows
from tnlayers.reproduce.recipe_text import Run, accelerated, recipe_name
from tnlayers.reproduce.store import of

_BEGIN = """## Other networks in the same places

Whether the MPO is the right choice: other types in the places of the paper's MPOs and with the same factors of the
sizes, written by `tnlayers reproduce types` (LeNet-5: 20 epochs of `fast`; all five places of VGG-16, its
classifier and two convolutions: 3). Each place has **one number for all bonds of the type, such that its parameters
are nearest to those of the MPO there** (`--network "cp(equal)"`). How near that is, the column "of the MPO's" says
for all places together: within 8 % of LeNet-5's for ring, Tucker, CP and low rank, but a block tensor train (`btt`)
with these factors has more than twice as many at its smallest, rank 1, and VGG-16's places are so small that low
rank at rank 1 has twice and Tucker half as many. At the recipe's rate low rank in VGG-16 diverged in its first
epoch (`docs/fast.md`): its row has a smaller one, and clipped gradients. A step is forward, backward and SGD on 100
images in 32 bits, processor time of one thread, the median of several.
"""


def others(runs: Sequence[Run], structure: Structure, steps: Structure) -> str:
    """The section: a line per row and recipe, one with empty cells where nothing was run."""
    lines = [
        _BEGIN,
        f"| model | network | in its places | of the MPO's | rho | Mflop | a step | {MEASURED} |",
        f"|{' --- |' * 15}",
    ]
    for row in rows(TYPES):
        lengths = _lengths(row, runs)
        groups = [
            group for group in of(runs, row.model, row.network, row.data) if group[0]["recipe"]["epochs"] in lengths
        ]
        lines += [f"{_counts(row, structure, steps)} {measured(group)} |" for group in groups] or [
            f"{_counts(row, structure, steps)}{'  |' * 8}"
        ]
    return "\n".join([*lines, "", *_orders(runs), *_further(runs)])


def _orders(runs: Sequence[Run]) -> list[str]:
    """Networks of one model in the order of their accuracy, where more than dense and mpo were run by one recipe."""
    found: dict[tuple[str, str, bool], list[tuple[float, str]]] = {}
    for row in rows(TYPES):
        for group in of(runs, row.model, row.network, row.data):
            final = statistics.mean(100 * run["final_test_accuracy"] for run in group)
            key = (row.model, recipe_name(group[0]), accelerated(group[0]))
            found.setdefault(key, []).append((final, f"{row.network} {final:.2f}"))
    return [
        f"{model}, {recipe}, by the accuracy after the last epoch: "
        f"{', '.join(words for _, words in sorted(networks, reverse=True))}.\n"
        for (model, recipe, _), networks in found.items()
        if len(networks) > 2
    ]


def _lengths(row: Row, runs: Sequence[Run]) -> set[int | None]:
    """Epochs of the runs to be compared; dense and mpo have longer ones too, which stand in the paper's tables."""
    others = {other.network for other in rows(TYPES) if other.network not in ("dense", "mpo")}
    there = {
        run["recipe"]["epochs"]
        for run in runs
        if (run["model"], run["data"]) == (row.model, row.data) and run["network"] in others
    }
    return {row.epochs} | there


def _counts(row: Row, structure: Structure, steps: Structure) -> str:
    counts, step = structure[row.model][row.network], steps.get(row.model, {}).get(row.network)
    share = counts["replaced"] / structure[row.model]["mpo"]["replaced"]
    time = seconds(step["seconds"]) if step else ""
    return (
        f"| {row.model} | `{row.network}` | {counts['replaced']:,} | {share:.2f} | {rho(counts['rho'])} | "
        f"{counts['flops'] / 1e6:,.2f} | {time} |"
    )


def _further(runs: Sequence[Run]) -> list[str]:
    """Runs of networks or data that are no row of any table here."""
    known = {(row.model, row.network, row.data) for row in (*ROWS, *OTHERS)} | {("fc2", "mpo", "mnist")}
    keys = dict.fromkeys((run["model"], run["data"], run["network"]) for run in runs)
    lines = [
        f"| {model} | {data} | `{network}` | {rho(group[0]['rho'])} | {measured(group)} |"
        for model, data, network in keys
        if (model, network, data) not in known
        for group in of(runs, model, network, data)
    ]
    if not lines:
        return []
    return [
        "### Other data and networks\n",
        f"| model | data | network | rho | {MEASURED} |",
        f"|{' --- |' * 12}",
        *lines,
        "",
    ]
