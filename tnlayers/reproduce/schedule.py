"""What to run next: the paper's rows that lack seeds, in the order that fills the page soonest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tnlayers.reproduce.cost import seconds_per_epoch
from tnlayers.reproduce.paper import Row
from tnlayers.reproduce.store import of
from tnlayers.reproduce.told import Run, changes, recipes
from tnlayers.train.config import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model to train.

    Attributes:
        row: The paper's row that it is for.
        seed: Of weights and data order.
        recipe: A named one.
        epochs: Passes over the training images.
        minutes: Predicted, of training alone.
        source: Where the prediction is from.
        folder: Of the run.
        begun: Whether the folder holds an unfinished run.
    """

    row: Row
    seed: int
    recipe: str
    epochs: int
    minutes: float
    source: str
    folder: Path
    begun: bool

    def as_dict(self) -> dict[str, Any]:
        """The job as plain data."""
        row = self.row
        return {
            "part": row.part,
            "model": row.model,
            "network": row.network,
            "data": row.data,
            "seed": self.seed,
            "recipe": self.recipe,
            "epochs": self.epochs,
            "minutes": round(self.minutes, 1),
            "source": self.source,
            "folder": str(self.folder),
            "begun": self.begun,
        }


def schedule(
    rows: Iterable[Row],
    runs: Sequence[Run],
    structure: Mapping[str, Any],
    *,
    seeds: int,
    out: Path,
    recipe: str | None = None,
    epochs: int | None = None,
) -> list[Job]:
    """The runs that are missing: first those begun, then seed by seed, the shortest first.

    Args:
        rows: The rows to fill.
        runs: The stored runs; a row's seed that is among them with this recipe and these epochs is not run again.
        structure: Counts by model and network, for predictions.
        seeds: Seeds 0 to seeds - 1 of each row.
        out: The folder of the runs' folders.
        recipe: A named recipe where the model has it; its default if None.
        epochs: Other than the recipe's.
    """
    jobs = []
    for row in rows:
        known = recipes(row.model, row.data)
        name = recipe if recipe in known else next(iter(known))
        length = epochs or known[name].epochs
        seconds, source = seconds_per_epoch(row, structure, runs, known[name].precision)
        done = {
            run["seed"]
            for group in of(runs, row.model, row.network, row.data)
            for run in group
            if _is(run, name, length)
        }
        for seed in sorted(set(range(seeds)) - done):
            folder = out / f"{row.model}-{slug(row.network)}-{name}-{length}-seed{seed}"
            begun = (folder / "checkpoints").is_dir() and any((folder / "checkpoints").iterdir())
            jobs.append(
                Job(
                    row=row,
                    seed=seed,
                    recipe=name,
                    epochs=length,
                    minutes=seconds * length / 60,
                    source=source,
                    folder=folder,
                    begun=begun,
                )
            )
    return sorted(jobs, key=lambda job: (not job.begun, job.seed, job.minutes))


def _is(run: Run, name: str, epochs: int) -> bool:
    """Whether a run is of the named recipe, with this many epochs and nothing else changed."""
    found, changed = changes(run["model"], run["data"], run["recipe"])
    return found == name and not set(changed) - {"epochs"} and run["recipe"]["epochs"] == epochs


def within(jobs: Sequence[Job], budget: float) -> list[Job]:
    """The jobs that are begun in a budget of minutes; the last one may be cut short and goes on the next time."""
    chosen, used = [], 0.0
    for job in jobs:
        if used >= budget:
            break
        chosen.append(job)
        used += job.minutes
    return chosen
