"""Gather finished runs into `mnist.json`; write docs/paper.md and the tables of docs/mnist.md and README.md from it.

    python docs/results/collect.py runs/*          adds what is finished in these folders, then writes the tables
    python docs/results/collect.py                 writes the tables again

A run is known by model, network, seed and recipe; gathering it again replaces it. Runs of several machines may be
gathered one after the other.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from marks import filled

from tnlayers.reproduce import store
from tnlayers.reproduce.paper import ROWS
from tnlayers.reproduce.store import spread
from tnlayers.reproduce.told import Run
from tnlayers.reproduce.writing import write
from tnlayers.train.recipes import find_recipe

HERE = Path(__file__).resolve().parent
STORE = HERE / "mnist.json"
# Best test epoch, percent, five runs; FC2's points are read off Fig. 2.
PAPER = {
    (row.model, row.network): f"{row.accuracy[0]:.2f} ± {row.accuracy[1]:.2f}" for row in ROWS if row.data == "mnist"
}


def read_runs(folder: Path) -> list[Run]:
    """The finished models of one run folder that are of MNIST, which needs no mention here."""
    runs = store.read_runs(folder)
    return [{key: value for key, value in run.items() if key != "data"} for run in runs if run["data"] == "mnist"]


def changes(model: str, recipe: Run) -> dict[str, Any]:
    """What a recipe has that the default of its model on MNIST has not."""
    default = find_recipe(model, "mnist").model_dump()
    return {key: value for key, value in recipe.items() if default.get(key) != value}


def identity(run: Run) -> tuple[Any, ...]:
    """What makes two runs the same one; sorts dense first, then by bond, recipe and seed."""
    bond = int(re.sub(r"\D", "", run["network"]) or 0)
    recipe = json.dumps(changes(run["model"], run["recipe"]))
    return (run["model"], run["network"] != "dense", bond, recipe, run["seed"])


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
            f"{told(first)} | {seeds} | {final} | {best} | {PAPER.get((first['model'], first['network']), '')} |"
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
            f"| {run['model']} | `{run['network']}` | {told(run)} | {run['seed']} | "
            f"{100 * run['final_test_accuracy']:.2f} | {100 * run['best_test_accuracy']:.2f} "
            f"({run['best_test_epoch']}) | {run['final_train_loss']:.5f} | {run['median_seconds_per_epoch']} | "
            f"`{run['commit'][:7]}` |"
        )
    return "\n".join(rows)


def told(run: Run) -> str:
    """The recipe in words: "default", or what is different."""
    return ", ".join(f"{key} {value:g}" for key, value in changes(run["model"], run["recipe"]).items()) or "default"


PAGES = {
    HERE.parent / "mnist.md": {"results": summary, "runs": every_run},
    HERE.parent.parent / "README.md": {"results": summary},
}


def main(folders: list[Path]) -> None:
    """Gather, store, and write the tables."""
    stored = json.loads(STORE.read_text())
    runs = {identity(run): run for run in stored["runs"]}
    for folder in folders:
        if (folder / "results.json").exists():
            runs |= {identity(run): run for run in read_runs(folder)}
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
