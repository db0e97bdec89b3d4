"""The one table that a run ends with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from tnlayers.train.config import TrainConfig
from tnlayers.train.results import NetworkResult, TextFacts


def make_table(
    config: TrainConfig, networks: Sequence[NetworkResult], directory: Path, text: TextFacts | None = None
) -> Table:
    """Return one row per network: size, compression, accuracy, time; of a language model bits per character too."""
    held_out = config.recipe.validation
    what = "images" if text is None else "tokens"
    # An epoch taken for its test accuracy flatters the model, and is called otherwise than one that others chose.
    word, by = ("chosen", f"{held_out:,} {what} held out of training") if held_out else ("best", "looking at it")
    seeds = f"{len(config.seeds)} seed{'s' if len(config.seeds) > 1 else ''}"
    epochs = f"{config.recipe.epochs} epoch{'s' if config.recipe.epochs > 1 else ''}"
    table = Table(
        title=f"{config.model} on {config.data}: {epochs}, {seeds}",
        caption=f"Test accuracy; the best epoch is chosen by {by}. Written to {directory}",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("network", no_wrap=True)
    # Two-line headings and cells: the table fits into 80 columns, the width of a log.
    for heading in (
        "replaced\nweights",
        "all\ntrained",
        "rho",
        "final\naccuracy %",
        f"{word}\naccuracy %",
        *(() if text is None else ("bits\n/char",)),
        "seconds\n/epoch",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for network in networks:
        table.add_row(*row(network, text))
    return table


def row(network: NetworkResult, text: TextFacts | None = None) -> tuple[str, ...]:
    """Return the cells of one network."""
    epochs = sorted((seed.chosen or seed.best).epoch for seed in network.seeds)
    at = f"{epochs[0]}" if epochs[0] == epochs[-1] else f"{epochs[0]}-{epochs[-1]}"
    return (
        network.network,
        f"{network.parameters.replaced:,}",
        f"{network.parameters.trainable:,}",
        f"{network.parameters.rho:.4f}",
        percent(*network.final_accuracy),
        f"{percent(*(network.chosen_accuracy or network.best_accuracy))}\nat {at}",
        *(() if text is None else (f"{text.bits_per_character(network.final_loss[0]):.3f}",)),
        f"{network.seconds_per_epoch:.3g}",
    )


def percent(mean: float, std: float | None) -> str:
    """Return an accuracy in per cent, with its spread if there is one.

    Example:
        >>> percent(0.9917, 0.0004), percent(0.98, None)
        ('99.17±0.04', '98.00')
    """
    return f"{100 * mean:.2f}" if std is None else f"{100 * mean:.2f}±{100 * std:.2f}"
