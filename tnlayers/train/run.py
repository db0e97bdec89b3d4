"""A whole run: for each network and seed, build the model, train it, and write down what came out.

Whatever is finished is on disk before the next model begins, and a finished model is never trained twice.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from tnlayers import models
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text
from tnlayers.io import header, save
from tnlayers.train.checkpoint import Checkpoint
from tnlayers.train.config import TrainConfig
from tnlayers.train.directory import Job, RunDirectory
from tnlayers.train.environment import describe_environment
from tnlayers.train.feed import DeviceData
from tnlayers.train.history import EpochRecord
from tnlayers.train.lock import RunLock
from tnlayers.train.loop import fit
from tnlayers.train.plot import save_plot
from tnlayers.train.processes import first_process, lost_connection, lost_others, on_main_process, speak_for
from tnlayers.train.progress import Progress, showing
from tnlayers.train.recipe import Recipe
from tnlayers.train.results import NetworkResult, Parameters, SeedResult
from tnlayers.train.run_result import RunResult
from tnlayers.train.tasks import Task, task_of
from tnlayers.train.trainer import DivergedError, Way
from tnlayers.train.ways import way_of

PICTURE_SECONDS = 10.0  # between two drawings of what is finished; the last one is always drawn


def run(config: TrainConfig, *, progress: bool = True) -> RunResult:
    """Train every network of a configuration with every seed, and write the folder of the run.

    Args:
        config: What to do.
        progress: Whether to show progress on the error stream.

    Returns:
        The outcome, the same on every process.

    Raises:
        TNLayersError: Whatever cannot be done as asked: settings, data, folder, checkpoint, a loss that is not finite.
    """
    way = way_of(config.backend)
    with way.ready(config):
        return _launched(config, way, progress)


def _launched(config: TrainConfig, way: Way, progress: bool) -> RunResult:
    """The run, with Fabric and the lock of its folder around it."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    fabric = way.launch(config)
    first = first_process(fabric)
    lock = RunLock(config.directory)
    try:
        return _run(config, way, fabric, lock, progress)
    except RuntimeError as error:
        if fabric.world_size == 1 or isinstance(error, TNLayersError) or not lost_connection(error):
            raise
        raise lost_others(fabric, error) from error
    except KeyboardInterrupt:
        speak_for(fabric, first)
        raise
    finally:
        lock.release()


def _run(config: TrainConfig, way: Way, fabric: Fabric, lock: RunLock, progress: bool) -> RunResult:
    """The run, on every process."""
    task = task_of(config)
    dataset = load_data(task, config, fabric) if task.needs_data_first else None
    model = task.model(config, dataset)
    parameters = {network: count_parameters(model, network) for network in config.networks}
    directory = RunDirectory(root=config.directory, model=config.model)
    on_main_process(fabric, lock.acquire)
    on_main_process(fabric, lambda: directory.prepare(config))
    runner = Runner(
        fabric=fabric,
        way=way,
        config=config,
        task=task,
        dataset=dataset,
        model=model,
        directory=directory,
        parameters=parameters,
    )
    try:
        with showing(progress and fabric.is_global_zero) as shown:
            return runner.run(shown)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TNLayersError(
            f"No room for the run in {directory.root}: {error}. What was written before is whole. Make room and go on "
            "with --resume."
        ) from error


def load_data(task: Task, config: TrainConfig, fabric: Fabric) -> Any:
    """Load the data set; process 0 goes first, as it may have to download."""
    with fabric.rank_zero_first():
        return task.load(config)


def count_parameters(model: str, network: str) -> Parameters:
    """Return the size of a model built with a network."""
    report = models.describe(model, network=network)
    kind = network.partition("(")[0].strip()
    return Parameters(
        replaced=report.replaced[kind],
        replaced_dense=report.replaced["dense"],
        weights=report.total[kind]["weights"],
        trainable=report.total[kind]["trainable"],
        rho=report.rho,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A run on its way.

    Attributes:
        fabric: Launched.
        way: How the framework trains.
        config: What to do.
        task: For what.
        dataset: The data set, where the task needs it first.
        model: Name of the model, whose size may depend on the data.
        directory: Ready to be written to.
        parameters: Sizes by network.
    """

    fabric: Fabric
    way: Way
    config: TrainConfig
    task: Task
    dataset: Any
    model: str
    directory: RunDirectory
    parameters: Mapping[str, Parameters]

    def run(self, progress: Progress) -> RunResult:
        """Train what is not finished yet, and write the results after each model."""
        jobs: list[Job] = [(network, seed) for network in self.config.networks for seed in self.config.seeds]
        checkpoints = {job: self.checkpoint(job) for job in jobs}
        histories = {job: self.known_history(checkpoint) for job, checkpoint in checkpoints.items()}
        self.fabric.barrier()  # every process has read the old state before the first one changes it
        if self.fabric.is_global_zero:
            self.directory.write_metrics(histories)
        data: DeviceData | None = None
        diverged = []
        drawn = time.monotonic()  # a picture takes about a second, as long as a small model
        for job in jobs:
            if not self.finished(job, histories[job]):
                data = data or self.load_data()
                try:
                    histories[job] = self.train(job, data, checkpoints[job], progress)
                except DivergedError as error:  # an unlucky seed must not cost the night of the others
                    diverged.append(f"{job[0]} seed {job[1]}: {error}")
                due = time.monotonic() - drawn > PICTURE_SECONDS
                self.record(histories, picture=due)
                drawn = time.monotonic() if due else drawn
        result = self.record(histories, picture=True)
        if diverged:
            raise DivergedError(f"{' '.join(diverged)} The other models are in {self.directory.root}.")
        return result

    def load_data(self) -> DeviceData:
        """Bring the data set onto the device."""
        dataset = load_data(self.task, self.config, self.fabric) if self.dataset is None else self.dataset
        return self.task.put(dataset, self.fabric.device, self.config.recipe, self.model)

    def checkpoint(self, job: Job) -> Checkpoint:
        """Return the checkpoint of a job, with the settings that decide its numbers."""
        network, seed = job
        recipe = self.config.recipe
        left_out = () if recipe.depends_on_length else ("epochs",)  # such a run may be made longer
        settings = {key: value for key, value in recipe.model_dump().items() if key not in left_out}
        fixed: dict[str, str | int | float | bool] = {
            "model": self.config.model,
            "network": network,
            "seed": seed,
            "data": self.config.data,
            "processes": self.fabric.world_size,
            "sharded": self.config.strategy == "fsdp",
            "backend": self.config.backend,
            **self.task.fingerprint(self.config, self.dataset),
        }
        defaults = {key: field.default for key, field in Recipe.model_fields.items() if not field.is_required()}
        return Checkpoint(
            path=self.directory.checkpoint(job),
            fingerprint={**fixed, **settings},
            assumed={"sharded": False, "backend": "torch", **defaults},
            every_seconds=self.config.checkpoint_seconds,
            keep=self.config.keep,
        )

    def known_history(self, checkpoint: Checkpoint) -> list[EpochRecord]:
        """Return the epochs done before, refusing a run that went on for longer than now asked."""
        history = checkpoint.history()
        if len(history) > self.config.recipe.epochs:
            raise TNLayersError(
                f"{checkpoint.path} has {len(history)} epochs done, more than the {self.config.recipe.epochs} asked "
                f"for. Use --epochs {len(history)} or more, or choose another --name."
            )
        return history

    def finished(self, job: Job, history: Sequence[EpochRecord]) -> bool:
        """Say whether all epochs are done and the weights after the last one are written."""
        epochs, path = self.config.recipe.epochs, self.directory.weights(job)
        if len(history) < epochs or not path.exists():
            return False
        try:
            return header(path).info.get("epochs") == str(epochs)
        except TNLayersError as error:
            raise TNLayersError(f"{error} Here: delete the file and train with --resume, which writes it.") from error

    def train(self, job: Job, data: DeviceData, checkpoint: Checkpoint, progress: Progress) -> list[EpochRecord]:
        """Train one model from its checkpoint or from the start, and write its weights."""
        network, seed = job
        model = models.build(self.model, network=network, seed=seed)
        main = self.fabric.is_global_zero
        history = fit(
            self.fabric,
            model,
            data,
            self.config.recipe,
            seed=seed,
            label=f"{self.config.model} {network} seed {seed}",
            checkpoint=checkpoint,
            progress=progress,
            on_epoch=lambda record: self.directory.append_metrics(job, record) if main else None,
            begin=self.way.begin,
        )
        if self.config.strategy == "fsdp":
            from tnlayers.train.sharded import whole_weights

            weights = whole_weights(model)
            model = models.build(self.model, network=network, seed=seed)
            if main:
                model.load_state_dict(weights, assign=True)
        if main:
            info = {"network": network, "seed": str(seed), "epochs": str(len(history))}
            info |= self.task.info(self.dataset)
            save(model, self.directory.weights(job), info=info)
        return history

    def record(self, histories: Mapping[Job, Sequence[EpochRecord]], *, picture: bool) -> RunResult:
        """Write the table and the results of what is finished, and the picture if it is asked for."""
        result = RunResult(
            config=self.config,
            directory=self.directory.root,
            networks=self.results(histories),
            environment=describe_environment(self.fabric.device, processes=self.fabric.world_size)
            | dict(self.way.environment()),
            main_process=self.fabric.is_global_zero,
            text=self.task.facts(self.dataset),
        )
        if self.fabric.is_global_zero:
            self.directory.write_metrics(histories)
            write_text(self.directory.results, json.dumps(result.as_dict(), indent=2) + "\n")
            if picture:
                save_plot(self.directory.plot, result)
        return result

    def results(self, histories: Mapping[Job, Sequence[EpochRecord]]) -> tuple[NetworkResult, ...]:
        """Gather the seeds that are finished, by network."""
        found = []
        for network in self.config.networks:
            seeds = tuple(
                SeedResult(
                    seed=seed,
                    history=tuple(histories[network, seed]),
                    weights_file=self.directory.weights((network, seed)).relative_to(self.directory.root).as_posix(),
                )
                for seed in self.config.seeds
                if len(histories[network, seed]) == self.config.recipe.epochs
            )
            if seeds:
                found.append(NetworkResult(network=network, parameters=self.parameters[network], seeds=seeds))
        return tuple(found)
