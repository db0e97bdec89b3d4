"""What training measured: one record per epoch, and the readings of a whole history that reports quote."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch of one model.

    Attributes:
        epoch: 1 for the first.
        train_loss: Mean cross-entropy of the images of this epoch, each as it was met (augmented, the weights moving
            meanwhile), with smoothed labels where the recipe smooths them; the L2 term is not in it.
        test_loss: Mean cross-entropy on the whole test part after the epoch.
        test_accuracy: Share of the test part classified rightly, 0..1.
        lr: Learning rate of the last step.
        seconds: Wall-clock time of the training steps.
        test_seconds: Wall-clock time of the evaluation.
        validation_loss: As `test_loss`, on the images held out of training; None if there are none.
        validation_accuracy: As `test_accuracy`, alike.
    """

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    lr: float
    seconds: float
    test_seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the fields by name, in the order of the columns of metrics.csv."""
        return asdict(self)


def without_times(history: Sequence[EpochRecord]) -> list[dict[str, float | None]]:
    """Return the records without wall-clock times: all that two runs of the same thing have in common.

    Example:
        >>> row = EpochRecord(
        ...     epoch=1, train_loss=0.5, test_loss=0.4, test_accuracy=0.9, lr=0.1, seconds=3.0, test_seconds=0.2
        ... )
        >>> sorted(without_times([row])[0])
        ['epoch', 'lr', 'test_accuracy', 'test_loss', 'train_loss', 'validation_accuracy', 'validation_loss']
    """
    times = ("seconds", "test_seconds")
    return [{key: value for key, value in record.as_dict().items() if key not in times} for record in history]


def chosen(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Return the epoch with the highest validation accuracy, the earliest of equals; None if nothing was held out.

    The test part had no say in it, so its test accuracy is an honest figure, as that of the final epoch is.
    """
    if any(record.validation_accuracy is None for record in history):
        return None
    return max(history, key=lambda record: (record.validation_accuracy or 0.0, -record.epoch))


def best(history: Sequence[EpochRecord]) -> EpochRecord:
    """Return the epoch with the highest test accuracy, the earliest of equals.

    It is chosen with the test part in hand, as in the paper, so it flatters the model: the final epoch is the honest
    figure.
    """
    return max(history, key=lambda record: (record.test_accuracy, -record.epoch))


def median_seconds(history: Sequence[EpochRecord]) -> float:
    """Return the median time of the training steps of one epoch, in seconds."""
    return statistics.median(record.seconds for record in history)


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation, which is None for fewer than two values.

    Example:
        >>> mean_and_std([0.25, 0.75])
        (0.5, 0.3535533905932738)
        >>> mean_and_std([0.25])
        (0.25, None)
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
