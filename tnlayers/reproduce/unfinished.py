"""Unfinished runs: folders of one network and one seed with a checkpoint, whatever their names are."""

from __future__ import annotations

from pathlib import Path

from tnlayers.train.config import TrainConfig
from tnlayers.train.recipe import Recipe

# Model, data, network, seed, recipe: what makes a run the one that is asked for.
Asked = tuple[str, str, str, int, Recipe]


def unfinished(runs: Path) -> dict[Asked, Path]:
    """The folders with a checkpoint to go on from, by what is trained in them.

    A folder of several networks or seeds is gone on with by the command that began it, not by a run of one of them.

    Args:
        runs: The folder of the runs' folders.

    Raises:
        TNLayersError: If the configuration of one of them cannot be read.
    """
    found = {}
    for path in sorted(runs.glob("*/config.yaml")):
        if any((path.parent / "checkpoints").glob("*.ckpt")):
            config = TrainConfig.resolve(path)
            if len(config.networks) == len(config.seeds) == 1:
                found[config.model, config.data, config.networks[0], config.seeds[0], config.recipe] = path.parent
    return found
