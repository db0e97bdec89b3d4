"""The stored runs: one record per model trained to its end, gathered from the folders that `tnlayers train` writes.

Every .json file in the folder of results that has training runs in a list "runs" is read; what is gathered here goes
to paper.json. A run is known by model, network, data, seed, recipe and whether an accelerator ran it; two records of
one run are one, the later file's.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tnlayers.errors import TNLayersError, shortened
from tnlayers.files.atomic import write_text
from tnlayers.files.documents import read_json
from tnlayers.reproduce.recipe_text import SELECTION, Run, accelerated, command, recipe_name
from tnlayers.train.recipe import Recipe

KEYS = {"model", "network", "seed", "recipe", "best_test_accuracy"}  # what tells a training run from other records
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("model", "data", "network", "command"), str),
    **dict.fromkeys(("seed", "best_test_epoch", "replaced_weights", "trainable", "threads", "chosen_epoch"), int),
    **dict.fromkeys(("best_test_accuracy", "final_test_accuracy", "final_train_loss", "rho"), (int, float)),
    **dict.fromkeys(("median_seconds_per_epoch", "chosen_test_accuracy"), (int, float)),
}
SAME = {("fc2", "mpo"): "mpo(bond=16)"}  # two names of one network


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The folder of results.

    Attributes:
        folder: Where the files lie.
    """

    folder: Path

    @property
    def file(self) -> Path:
        """Where runs that are gathered here go, with the structure of the models and times of a step."""
        return self.folder / "paper.json"

    def runs(self) -> list[Run]:
        """Every run of every file, in a fixed order."""
        found: dict[tuple[Any, ...], Run] = {}
        for path in sorted(self.folder.glob("*.json")):
            content = _read(path)
            if isinstance(content.get("runs"), list):
                records = [run for run in content["runs"] if isinstance(run, dict) and run.keys() >= KEYS]
                with _of(path):
                    found |= {identity(run): run for run in map(as_today, records)}
        return [found[key] for key in sorted(found)]

    def gather(self, folders: Iterable[Path]) -> list[Run]:
        """Add what is finished in run folders, but for sets of digits and what a file has already.

        Returns:
            What was added.
        """
        known = {identity(run) for run in self.runs()}
        found = [run for folder in folders for run in read_runs(folder) if run["data"] != "digits"]
        new = [run for run in found if identity(run) not in known]
        if new:
            self.add(new)
        return new

    def structure(self) -> dict[str, Any]:
        """Counts by model and network, as `measure` of `structure` makes them; empty where none are stored."""
        return self._table("structure")

    def steps(self) -> dict[str, Any]:
        """Times of a training step by model and network, as `time_step` of `steps` measures them."""
        return self._table("steps")

    def _table(self, name: str) -> dict[str, Any]:
        """One table of the file: by model, then by network."""
        table = _read(self.file).get(name, {}) if self.file.exists() else {}
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            raise TNLayersError(
                f"The results in {self.file} are damaged: {name!r} is not a table by model and network. Restore the "
                "file, or remove it."
            )
        return table

    def add(
        self,
        runs: Iterable[Run] = (),
        structure: Mapping[str, Any] | None = None,
        steps: Mapping[str, Any] | None = None,
    ) -> None:
        """Put runs, counts and times into the file; those of the same identity are replaced."""
        content = _read(self.file) if self.file.exists() else {}
        with _of(self.file):
            stored = {identity(run): run for run in map(as_today, content.get("runs", []))}
        stored |= {identity(run): run for run in runs}
        data = {
            "what": "Runs of the paper's networks gathered by `tnlayers reproduce`, beside those of the other files "
            "here, the structure of its models, and the times of a training step.",
            "structure": self.structure() | dict(structure or {}),
            "steps": self.steps() | dict(steps or {}),
            "runs": [stored[key] for key in sorted(stored)],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps(data, indent=1) + "\n")


def read_runs(folder: Path) -> list[Run]:
    """The models of one run folder that are trained to their end; none where there are no results yet."""
    path = folder / "results.json"
    if not path.exists():
        return []
    results = _read(path)
    with _of(path):
        return _records(results)


def _records(results: Run) -> list[Run]:
    recipe = _recipe(results["recipe"])
    return [
        {
            "model": results["model"],
            "data": results["data"],
            "network": network["network"],
            "seed": seed["seed"],
            "recipe": recipe,
            "command": command(results, network["network"], seed["seed"], recipe),
            "rho": round(network["rho"], 6),
            "replaced_weights": network["parameters"]["replaced"]["weights"],
            "trainable": network["parameters"]["total"]["trainable"],
            "final_test_accuracy": seed["final"]["test_accuracy"],
            "final_train_loss": seed["final"]["train_loss"],
            "best_test_accuracy": seed["best_test_epoch"]["test_accuracy"],
            "best_test_epoch": seed["best_test_epoch"]["epoch"],
            "median_seconds_per_epoch": round(seed["median_seconds_per_epoch"], 2),
            **_by_validation(seed),
            **{key: results["environment"][key] for key in ("commit", "torch", "device", "threads")},
        }
        for network in results["networks"]
        for seed in network["seeds"]
    ]


def _by_validation(seed: Run) -> Run:
    """The test accuracy of the epoch that held-out images chose, where some were held out."""
    chosen = seed.get("validation_epoch")
    return {} if chosen is None else {"chosen_test_accuracy": chosen["test_accuracy"], "chosen_epoch": chosen["epoch"]}


def identity(run: Run) -> tuple[Any, ...]:
    """What makes two runs the same one; sorts dense first, then by network, recipe and seed."""
    network = same(run)
    bond = int("".join(filter(str.isdigit, network)) or 0)
    kind = network.partition("(")[0]
    return (
        run["model"],
        run["data"],
        network != "dense",
        kind,
        bond,
        network,
        recipe_name(run),
        accelerated(run),
        run["seed"],
    )


def same(run: Run) -> str:
    """The network of a run, under one name where two mean the same."""
    network: str = run["network"]
    return SAME.get((run["model"], network), network)


def of(runs: Iterable[Run], model: str, network: str, data: str) -> list[list[Run]]:
    """The runs of one network, grouped by recipe and processor or accelerator.

    The closest to a named recipe come first, "paper" before others, then the longest; whether images were held out says
    nothing there.
    """
    wanted = SAME.get((model, network), network)
    groups: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        if (run["model"], same(run), run["data"]) == (model, wanted, data):
            groups.setdefault((recipe_name(run), accelerated(run)), []).append(run)

    def nearness(key: tuple[str, bool]) -> tuple[Any, ...]:
        recipe = key[0].replace(f", {SELECTION}", "")
        return recipe.count(","), recipe != "paper", -groups[key][0]["recipe"]["epochs"], key

    return [groups[key] for key in sorted(groups, key=nearness)]


def spread(values: list[float]) -> str:
    """Mean, and the sample standard deviation where there is more than one.

    Example:
        >>> spread([98.0, 98.2]), spread([98.0])
        ('98.10 ± 0.14', '98.00')
    """
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def as_today(run: Run) -> Run:
    """A record as written today: old ones of MNIST do not name the data, nor settings that recipes got after them."""
    found = {"data": "mnist"} | run | {"recipe": _recipe(run["recipe"])}
    for key, kinds in _KINDS.items():
        if key in found and (not isinstance(found[key], kinds) or isinstance(found[key], bool)):
            raise TypeError(f"{key} is {found[key]!r}")
    return found


def _recipe(recipe: Run) -> Run:
    """A recipe with the defaults of what it lacks: so were runs made before there was such a setting."""
    return Recipe(**recipe).model_dump()


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "the results in")
    return content if isinstance(content, dict) else {}


@contextmanager
def _of(path: Path) -> Iterator[None]:
    """Refuse a file by name where its records lack what records have, or have something else in its place."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # ValueError is also pydantic's
        if isinstance(error, TNLayersError):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise TNLayersError(
            f"The results in {path} are damaged: a record of them cannot be read ({shortened(reason, 200)}). Restore "
            "the file, or remove it."
        ) from error
