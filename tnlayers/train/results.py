"""The outcome of a run, as values: per network its parameters and what its seeds reached."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from tnlayers.train.history import EpochRecord, best, chosen, mean_and_std, median_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """What a text brings to the results of a language model.

    Attributes:
        vocabulary: Different tokens.
        characters: Of the whole text.
        test_characters: Of the part held out for test.
        test_tokens: Of the same part.
        sha256: Of the whole text in UTF-8.
    """

    vocabulary: int
    characters: int
    test_characters: int
    test_tokens: int
    sha256: str

    def bits_per_character(self, loss: float) -> float:
        """The loss on the test part in bits per character.

        Args:
            loss: In nats per token.

        Example:
            >>> facts = TextFacts(vocabulary=300, characters=90, test_characters=8, test_tokens=4, sha256="")
            >>> facts.bits_per_character(2 * math.log(2))
            1.0
        """
        return loss / math.log(2) * self.test_tokens / self.test_characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Size of a network.

    Attributes:
        replaced: Weights of the layers that a tensor network replaces, in this network.
        replaced_dense: Weights of the same layers when dense.
        weights: All weights of the model, biases left out.
        trainable: All trainable numbers of the model.
        rho: Compression as the paper defines it; 1 for the dense model.
    """

    replaced: int
    replaced_dense: int
    weights: int
    trainable: int
    rho: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one model reached.

    Attributes:
        seed: Of its weights and its data order.
        history: All its epochs.
        weights_file: Where its weights lie, relative to the folder of the run.
    """

    seed: int
    history: tuple[EpochRecord, ...]
    weights_file: str

    @property
    def final(self) -> EpochRecord:
        """The last epoch."""
        return self.history[-1]

    @property
    def best(self) -> EpochRecord:
        """The epoch with the best test accuracy: chosen by looking at the test part."""
        return best(self.history)

    @property
    def chosen(self) -> EpochRecord | None:
        """The epoch with the best accuracy on the images held out of training, if there are any."""
        return chosen(self.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkResult:
    """What one network reached, over its seeds."""

    network: str
    parameters: Parameters
    seeds: tuple[SeedResult, ...]

    @property
    def final_accuracy(self) -> tuple[float, float | None]:
        """Mean and sample standard deviation of the final test accuracy, over seeds."""
        return mean_and_std([seed.final.test_accuracy for seed in self.seeds])

    @property
    def final_loss(self) -> tuple[float, float | None]:
        """The same of the final test loss, in nats."""
        return mean_and_std([seed.final.test_loss for seed in self.seeds])

    @property
    def best_accuracy(self) -> tuple[float, float | None]:
        """The same of each seed's best test epoch."""
        return mean_and_std([seed.best.test_accuracy for seed in self.seeds])

    @property
    def chosen_accuracy(self) -> tuple[float, float | None] | None:
        """The same of each seed's epoch chosen by held-out images; None if there are none."""
        epochs = [seed.chosen for seed in self.seeds]
        accuracies = [epoch.test_accuracy for epoch in epochs if epoch is not None]
        return mean_and_std(accuracies) if len(accuracies) == len(epochs) else None

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of the training steps of an epoch, over epochs and seeds."""
        return statistics.median(median_seconds(seed.history) for seed in self.seeds)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        final, final_std = self.final_accuracy
        top, top_std = self.best_accuracy
        by_validation = self.chosen_accuracy
        size = self.parameters
        return {
            "network": self.network,
            "parameters": {
                "replaced": {"weights": size.replaced, "dense_weights": size.replaced_dense},
                "total": {"weights": size.weights, "trainable": size.trainable},
            },
            "rho": size.rho,
            "final_test_accuracy": {"mean": final, "std": final_std},
            "best_test_epoch_accuracy": {"mean": top, "std": top_std},
            "validation_epoch_test_accuracy": (
                None if by_validation is None else {"mean": by_validation[0], "std": by_validation[1]}
            ),
            "median_seconds_per_epoch": self.seconds_per_epoch,
            "seeds": [
                {
                    "seed": seed.seed,
                    "epochs": len(seed.history),
                    "final": seed.final.as_dict(),
                    "best_test_epoch": seed.best.as_dict(),
                    "validation_epoch": None if seed.chosen is None else seed.chosen.as_dict(),
                    "median_seconds_per_epoch": median_seconds(seed.history),
                    "weights_file": seed.weights_file,
                }
                for seed in self.seeds
            ],
        }
