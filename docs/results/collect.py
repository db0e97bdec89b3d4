"""Gather finished runs into `mnist.json`; write docs/paper.md and the tables of docs/mnist.md from it.

    python docs/results/collect.py runs/*          adds what is finished in these folders, then writes the tables
    python docs/results/collect.py                 writes the tables again

A run is known as in `tnlayers.reproduce.store`; gathering it again replaces it. Runs of several machines may be
gathered one after the other.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from marks import filled

from tnlayers.reproduce import store
from tnlayers.reproduce.paper import ROWS
from tnlayers.reproduce.recipe_text import Run, recipe_name
from tnlayers.reproduce.store import as_today, identity, read_runs, spread
from tnlayers.reproduce.writing import write

HERE = Path(__file__).resolve().parent
STORE = HERE / "mnist.json"
# Best test epoch, percent, five runs; FC2's points are read off Fig. 2.
PAPER = {
    (row.model, row.network): f"{row.accuracy[0]:.2f} ± {row.accuracy[1]:.2f}" for row in ROWS if row.data == "mnist"
}


def summary(runs: list[Run]) -> str:
    """One row per model, network and recipe."""
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[identity(run)[:-1]].append(run)
    rows = [
        "| model | network | weights | rho | recipe | seeds | final % | best % | paper, best % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for group in groups.values():
        first = group[0]
        seeds = ", ".join(str(run["seed"]) for run in group)
        final, best = (spread([100 * run[f"{kind}_test_accuracy"] for run in group]) for kind in ("final", "best"))
        rows.append(
            f"| {first['model']} | `{first['network']}` | {first['replaced_weights']:,} | {first['rho']:.4f} | "
            f"{recipe_name(first)} | {seeds} | {final} | {best} | {PAPER.get((first['model'], first['network']), '')} |"
        )
    return "\n".join(rows)


def every_run(runs: list[Run]) -> str:
    """One row per run."""
    rows = [
        "| model | network | recipe | seed | final % | best % (epoch) | last training loss | s/epoch | commit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        rows.append(
            f"| {run['model']} | `{run['network']}` | {recipe_name(run)} | {run['seed']} | "
            f"{100 * run['final_test_accuracy']:.2f} | {100 * run['best_test_accuracy']:.2f} "
            f"({run['best_test_epoch']}) | {run['final_train_loss']:.5f} | {run['median_seconds_per_epoch']} | "
            f"`{run['commit'][:7]}` |"
        )
    return "\n".join(rows)


PAGES = {
    HERE.parent / "mnist.md": {"results": summary, "runs": every_run},
}


def main(folders: list[Path]) -> None:
    """Gather, store, and write the tables."""
    stored = json.loads(STORE.read_text())
    runs = {identity(run): run for run in map(as_today, stored["runs"])}
    for folder in folders:
        runs |= {identity(run): run for run in read_runs(folder) if run["data"] == "mnist"}
    stored["runs"] = [runs[key] for key in sorted(runs)]
    STORE.write_text(json.dumps(stored, indent=1) + "\n")
    for page, tables in PAGES.items():
        text = page.read_text(encoding="utf-8")
        for name, table in tables.items():
            text = filled(text, name, table(stored["runs"]))
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
    write(store.Store(folder=HERE), HERE.parent)
