"""Train a model and its dense twin by one recipe, and write down what came out.

    config = TrainConfig.resolve(None, model="lenet5", network="mpo,dense", data="digits")
    print(train(config).table())

Reading a configuration needs no torch; `train` loads it, with lightning-fabric.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tnlayers.errors import TNLayersError
from tnlayers.train.config import TrainConfig
from tnlayers.train.data import Dataset, Part, load
from tnlayers.train.recipe import Recipe

if TYPE_CHECKING:
    from tnlayers.train.run_result import RunResult

__all__ = ["Dataset", "Part", "Recipe", "TrainConfig", "load", "train"]

REQUIRED = {"torch": "torch", "lightning_fabric": "lightning-fabric", "matplotlib": "matplotlib"}


def train(config: TrainConfig, *, progress: bool = True) -> RunResult:
    """Train every network of a configuration with every seed, and write the folder of the run.

    Args:
        config: What to train, how, and where to write it.
        progress: Whether to show progress on the error stream.

    Returns:
        The outcome; print it only where its `main_process` is true, as with several devices each process returns one.

    Raises:
        TNLayersError: A package is missing, or something cannot be done as asked.
    """
    missing = [package for module, package in REQUIRED.items() if find_spec(module) is None]
    if missing:
        raise TNLayersError(f"Training needs {', '.join(missing)}, not installed here. `pip install tnlayers[train]`.")
    # Threads that wait for each other by spinning starve as soon as something else runs on the machine: two trainings
    # of FC2 at once on two cores took 155 ms per step, and 4 ms with threads that sleep. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from tnlayers.train.run import run

    return run(config, progress=progress)
