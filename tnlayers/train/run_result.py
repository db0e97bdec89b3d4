"""The outcome of a whole run, as a value and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from tnlayers.train.config import TrainConfig
from tnlayers.train.history import mean_and_std
from tnlayers.train.report import make_table
from tnlayers.train.results import NetworkResult, TextFacts

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The outcome of a run.

    Attributes:
        config: What was asked.
        directory: Where everything lies.
        networks: Those that have at least one seed finished.
        environment: Versions, hardware, commit, command.
        text: What the text was, of a language model.
        main_process: Whether this process is the one that should print; of several, only one is.
    """

    config: TrainConfig
    directory: Path
    networks: tuple[NetworkResult, ...]
    environment: Mapping[str, str | int | None]
    main_process: bool = True
    text: TextFacts | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, as written to results.json."""
        config = self.config
        return {
            "format": FORMAT,
            "model": config.model,
            "data": config.data,
            "recipe": config.recipe.model_dump(),
            "precision": config.recipe.precision,
            "complete": len(self.networks) == len(config.networks)
            and all(len(network.seeds) == len(config.seeds) for network in self.networks),
            "networks": [network.as_dict() | self._bits(network) for network in self.networks],
            **({} if self.text is None else {"text": asdict(self.text) | {"tokens": config.tokens}}),
            "environment": dict(self.environment),
            "note": "Headline is the final epoch. best_test_epoch is chosen by looking at the test part, as in the "
            "paper; validation_epoch by what was held out of training. "
            "std is the sample standard deviation over seeds; null with one seed. Times are "
            "training steps only.",
        }

    def _bits(self, network: NetworkResult) -> dict[str, Any]:
        """What is said of a language model beside its accuracy."""
        if self.text is None:
            return {}
        bits = [self.text.bits_per_character(seed.final.test_loss) for seed in network.seeds]
        figures = {"final_test_loss_nats": network.final_loss, "final_test_bits_per_character": mean_and_std(bits)}
        return {key: {"mean": mean, "std": std} for key, (mean, std) in figures.items()}

    def table(self) -> Table:
        """Return the table for people."""
        return make_table(self.config, self.networks, self.directory, self.text)
