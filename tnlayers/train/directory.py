"""The folder of a run: what lies where, and when it may be used, gone on with, or deleted.

<out>/<name>/config.yaml       the resolved configuration: `--config` on it repeats the run
             metrics.csv       one row per network, seed and epoch
             results.json      parameters, accuracies, times, environment
             accuracy.png      accuracy and cost
             models/           weights as safetensors
             checkpoints/      state of training, one file per network and seed
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text
from tnlayers.train.config import TrainConfig, slug
from tnlayers.train.history import EpochRecord

Job = tuple[str, int]
COLUMNS = ("network", "seed", *(column.name for column in fields(EpochRecord)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDirectory:
    """The folder of one run.

    Attributes:
        root: The folder.
        model: Name of the model, part of the names of files.
    """

    root: Path
    model: str

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One row per network, seed and epoch."""
        return self.root / "metrics.csv"

    @property
    def results(self) -> Path:
        """Everything reported, for programs."""
        return self.root / "results.json"

    @property
    def plot(self) -> Path:
        """The picture."""
        return self.root / "accuracy.png"

    def checkpoint(self, job: Job) -> Path:
        """State of training of a network and seed."""
        return self.root / "checkpoints" / f"{self._stem(job)}.ckpt"

    def weights(self, job: Job) -> Path:
        """Weights of a network and seed after training."""
        return self.root / "models" / f"{self._stem(job)}.safetensors"

    def _stem(self, job: Job) -> str:
        network, seed = job
        return f"{self.model}-{slug(network)}-seed{seed}"

    def prepare(self, config: TrainConfig) -> None:
        """Make the folder ready for a run, or refuse.

        Raises:
            TNLayersError: Something is there and neither resume nor overwrite is set, or it is no run, or resume would
                leave models out that the run has.
        """
        try:
            if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
                self._take_over(config)
            for folder in (self.checkpoint(("", 0)).parent, self.weights(("", 0)).parent):
                folder.mkdir(parents=True, exist_ok=True)
            write_text(self.config, config.to_yaml())
        except OSError as error:
            raise TNLayersError(
                f"Cannot write the run into {self.root}: {error}. Choose another folder: --out."
            ) from error

    def _take_over(self, config: TrainConfig) -> None:
        if not self.config.is_file():
            raise TNLayersError(
                f"{self.root} is there already but is not a run of tnlayers: it has no config.yaml. "
                "Choose another --name."
            )
        if config.overwrite:
            self._delete()
        elif config.resume:
            self._check_same_models(config)
        else:
            raise TNLayersError(
                f"{self.root} already holds a run. Go on with it: --resume; choose another name: --name NAME; or "
                "delete it and start anew: --overwrite."
            )

    def _delete(self) -> None:
        """Delete what a run writes and nothing else: a person may keep notes beside it."""
        for path in (self.config, self.metrics, self.results, self.plot):
            path.unlink(missing_ok=True)
        for folder in ("models", "checkpoints"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def _check_same_models(self, config: TrainConfig) -> None:
        there = TrainConfig.resolve(self.config)
        for key in ("model", "data"):
            old, new = getattr(there, key), getattr(config, key)
            if old != new:
                raise TNLayersError(f"{self.root} has {key}={old}, but now {key}={new}. Choose another --name.")
        for key in ("networks", "seeds"):
            left_out = [value for value in getattr(there, key) if value not in getattr(config, key)]
            if left_out:
                raise TNLayersError(
                    f"{self.root} also has {key} {', '.join(map(str, left_out))}; resuming may add {key} but not leave "
                    f"any out. Name them too, or choose another --name."
                )

    def write_metrics(self, histories: Mapping[Job, Sequence[EpochRecord]]) -> None:
        """Write the table of all epochs anew."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for job, history in histories.items():
            writer.writerows((*job, *record.as_dict().values()) for record in history)
        write_text(self.metrics, text.getvalue())

    def append_metrics(self, job: Job, record: EpochRecord) -> None:
        """Add one row, so that the table can be followed; a torn last row is mended by the next `write_metrics`."""
        with self.metrics.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow((*job, *record.as_dict().values()))
