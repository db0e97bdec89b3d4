"""What to run next: the paper's rows that lack seeds, in the order that fills the page soonest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tnlayers.reproduce.cost import seconds_per_epoch
from tnlayers.reproduce.paper import Row
from tnlayers.reproduce.recipe_text import Run, recipes
from tnlayers.reproduce.store import of
from tnlayers.reproduce.unfinished import unfinished
from tnlayers.train.config import slug
from tnlayers.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model to train.

    Attributes:
        row: The paper's row that it is for.
        seed: Of weights and data order.
        recipe: A named one.
        epochs: Passes over the training images.
        selection: Whether nothing is held out of training, and the best epoch is the test set's choice as in the paper.
        otherwise: Whether this run is stored with the other selection.
        minutes: Predicted, of training alone.
        source: Where the prediction is from.
        folder: Of the run.
        unfinished: Whether the folder has an unfinished run, of whatever name.
    """

    row: Row
    seed: int
    recipe: str
    epochs: int
    selection: bool = False
    otherwise: bool = False
    minutes: float
    source: str
    folder: Path
    unfinished: bool

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
            "paper_selection": self.selection,
            "stored_with_other_selection": self.otherwise,
            "minutes": round(self.minutes, 1),
            "source": self.source,
            "folder": str(self.folder),
            "begun": self.unfinished,
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
    selection: bool = False,
) -> list[Job]:
    """The runs that are missing: first the unfinished ones, then seed by seed, the shortest first.

    Args:
        rows: The rows to fill.
        runs: The stored runs; a row's seed that is among them with this recipe and these epochs is not run again.
        structure: Counts by model and network, for predictions.
        seeds: Seeds 0 to seeds - 1 of each row.
        out: The folder of the runs' folders.
        recipe: A named recipe where the model has it; the row's, the paper's, or the model's default, if None.
        epochs: Other than the row's, or the recipe's.
        selection: Train on all images, and take the best epoch by the test set as the paper does.
    """
    jobs = []
    there = unfinished(out)
    for row in rows:
        known = recipes(row.model, row.data)
        name = next(one for one in (recipe, row.recipe, "paper", *known) if one in known)
        held_out = known[name].model_copy(update={"epochs": epochs or row.epochs or known[name].epochs})
        on_all = held_out.model_copy(update={"validation": 0})
        asked, other = (on_all, held_out) if selection else (held_out, on_all)
        seconds, source = seconds_per_epoch(
            row, structure, runs, asked.precision, accelerator=torch.cuda.is_available()
        )
        way = "paper-selection" if selection else "held-out"
        elsewhere = _seeds(row, runs, other)
        for seed in sorted(set(range(seeds)) - _seeds(row, runs, asked)):
            stem = f"{row.model}-{slug(row.network)}-{name}-{asked.epochs}-{way}-seed{seed}"
            folder = there.get((row.model, row.data, row.network, seed, asked))
            jobs.append(
                Job(
                    row=row,
                    seed=seed,
                    recipe=name,
                    epochs=asked.epochs,
                    selection=selection,
                    otherwise=seed in elsewhere,
                    minutes=seconds * asked.epochs / 60,
                    source=source,
                    folder=folder or out / stem,
                    unfinished=folder is not None,
                )
            )
    return sorted(jobs, key=lambda job: (not job.unfinished, job.seed, job.minutes))


def _seeds(row: Row, runs: Sequence[Run], recipe: Recipe) -> set[int]:
    """The seeds of a row that are stored by a recipe."""
    groups = of(runs, row.model, row.network, row.data)
    return {run["seed"] for group in groups for run in group if Recipe(**run["recipe"]) == recipe}


def within(jobs: Sequence[Job], budget: float) -> list[Job]:
    """The jobs that start within a budget of minutes; the last one may be cut short and goes on the next time."""
    chosen, used = [], 0.0
    for job in jobs:
        if used >= budget:
            break
        chosen.append(job)
        used += job.minutes
    return chosen
