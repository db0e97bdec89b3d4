"""Gather finished training runs into `mnist.json`, and write the tables of docs/mnist.md and README.md from it.

    python docs/results/collect.py runs/*          adds what is finished in these folders, then writes the tables
    python docs/results/collect.py                 writes the tables again

A run is known by model, network, seed and recipe; gathering it again replaces it. Runs of several machines may be
gathered one after the other.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tnlayers.train.recipes import find_recipe

HERE = Path(__file__).resolve().parent
STORE = HERE / "mnist.json"
PAGES = (HERE.parent / "mnist.md", HERE.parent.parent / "README.md")

# arXiv 1904.06194: FC2's points are read off Fig. 2, the rest are printed. Best test epoch, percent, five runs.
PAPER = {
    ("fc2", "dense"): "98.35 ± 0.20",
    ("fc2", "mpo(bond=2)"): "97.57 ± 0.36",
    ("fc2", "mpo(bond=4)"): "97.80 ± 0.34",
    ("fc2", "mpo(bond=8)"): "97.99 ± 0.18",
    ("fc2", "mpo(bond=16)"): "98.35 ± 0.12",
    ("lenet5", "dense"): "99.17 ± 0.04",
    ("lenet5", "mpo"): "99.17 ± 0.08",
}
OPTIONS = {"lr_decay_per_epoch": "lr-decay", "clip_norm": "clip-norm"}
Run = dict[str, Any]


def read_runs(folder: Path) -> list[Run]:
    """The finished models of one run folder."""
    results = json.loads((folder / "results.json").read_text())
    if results["data"] != "mnist":
        return []
    recipe = {"clip_norm": 0.0} | results["recipe"]  # runs older than the setting had no clipping
    return [
        {
            "model": results["model"],
            "network": network["network"],
            "seed": seed["seed"],
            "recipe": recipe,
            "command": command(results["model"], network["network"], seed["seed"], recipe),
            "rho": round(network["rho"], 6),
            "replaced_weights": network["parameters"]["replaced"]["weights"],
            "trainable": network["parameters"]["total"]["trainable"],
            "final_test_accuracy": seed["final"]["test_accuracy"],
            "final_train_loss": seed["final"]["train_loss"],
            "best_test_accuracy": seed["best_test_epoch"]["test_accuracy"],
            "best_test_epoch": seed["best_test_epoch"]["epoch"],
            "median_seconds_per_epoch": round(seed["median_seconds_per_epoch"], 2),
            "commit": results["environment"]["commit"],
            "torch": results["environment"]["torch"],
            "device": results["environment"]["device"],
            "threads": results["environment"]["threads"],
        }
        for network in results["networks"]
        for seed in network["seeds"]
    ]


def changes(model: str, recipe: Run) -> dict[str, Any]:
    """What a recipe has that the default of its model on MNIST has not."""
    default = find_recipe(model, "mnist").model_dump()
    return {key: value for key, value in recipe.items() if default[key] != value}


def command(model: str, network: str, seed: int, recipe: Run) -> str:
    """The command that repeats a run."""
    options = "".join(f" --{OPTIONS.get(key, key)} {value:g}" for key, value in changes(model, recipe).items())
    return f'tnlayers train {model} --network "{network}" --data mnist --seed {seed} --threads 1{options}'


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


def spread(values: list[float]) -> str:
    """Mean, and the sample standard deviation where there is more than one."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def write_between(page: Path, marker: str, text: str) -> None:
    """Put a text between `<!-- marker -->` and `<!-- /marker -->`."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    content = page.read_text()
    if begin in content:
        before, _, rest = content.partition(begin)
        page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def main(folders: list[Path]) -> None:
    """Gather, store, and write the tables."""
    store = json.loads(STORE.read_text())
    runs = {identity(run): run for run in store["runs"]}
    for folder in folders:
        if (folder / "results.json").exists():
            runs |= {identity(run): run for run in read_runs(folder)}
    store["runs"] = [runs[key] for key in sorted(runs)]
    STORE.write_text(json.dumps(store, indent=1) + "\n")
    for page in PAGES:
        write_between(page, "results", summary(store["runs"]))
        write_between(page, "runs", every_run(store["runs"]))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
