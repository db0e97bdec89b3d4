"""The picture of a run: how the accuracy grows, and what it costs.

Left, test accuracy over epochs, spaced by the logarithm of the error, so that 98 to 99 % is as far as 90 to 95 %.
Right, the final accuracy against the number of trainables.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from tnlayers.files.atomic import replacing
from tnlayers.train.results import NetworkResult
from tnlayers.train.run_result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people with any common colour blindness can tell apart; yellow is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
ERROR_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0)  # per cent
LEAST_ERROR = 0.05  # per cent; no error at all has no logarithm
GREY = "#555555"
LABEL_HEIGHT = 0.14  # of a name with its three lines, as a share of the panel


def save_plot(path: Path, result: RunResult) -> None:
    """Draw the networks of a result that have finished; without any, nothing is written.

    Args:
        path: The PNG to write or replace.
        result: What to draw.
    """
    if not result.networks:
        return
    figure = Figure(figsize=(12, 4.8), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_curves(left, result.networks)
    draw_cost(right, result.networks)
    seeds = max(len(network.seeds) for network in result.networks)
    figure.suptitle(
        f"{result.config.model} on {result.config.data}, {result.config.recipe.epochs} epochs, "
        f"{seeds} seed{'s' if seeds > 1 else ''}",
        fontsize=13,
    )
    with replacing(path) as file:
        figure.savefig(file, format="png")


def draw_curves(axes: Axes, networks: tuple[NetworkResult, ...]) -> None:
    """Draw test accuracy over epochs: the mean over seeds, in a band from the worst to the best of them."""
    lowest, highest = 100.0, 0.0
    for index, network in enumerate(networks):
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index // len(COLOURS) % len(STYLES)]
        errors = [[100 * (1 - record.test_accuracy) for record in seed.history] for seed in network.seeds]
        table = np.maximum(np.array(errors), LEAST_ERROR)  # (seeds, epochs)
        epochs = np.arange(1, table.shape[1] + 1)
        width = 1.8 if len(epochs) <= 100 else 1.1
        marker = "o" if len(epochs) < 3 else None
        axes.plot(epochs, table.mean(0), style, color=colour, marker=marker, linewidth=width, label=network.network)
        if len(table) > 1:
            axes.fill_between(epochs, table.min(0), table.max(0), color=colour, alpha=0.18, linewidth=0)
        lowest, highest = min(lowest, float(table.min())), max(highest, float(np.percentile(table, 99)))
    axes.set_yscale("log")
    axes.set_ylim(min(100.0, highest * 1.15), lowest / 1.15)  # upside down: up is better
    name_ticks(axes)
    axes.set_xlabel("epoch", fontsize=11)
    axes.set_title("test accuracy after each epoch" + band_note(networks), fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=10, loc="lower right")


def band_note(networks: tuple[NetworkResult, ...]) -> str:
    """Return what the band means, if there is one."""
    return "\nmean over seeds, band from worst to best" if max(len(network.seeds) for network in networks) > 1 else ""


def name_ticks(axes: Axes) -> None:
    """Label an axis of errors in per cent: accuracy on its left, error on its right."""
    twin = axes.secondary_yaxis("right")
    low, high = sorted(axes.get_ylim())
    ticks = [tick for tick in ERROR_TICKS if low <= tick <= high]
    for axis, text in ((axes.yaxis, lambda y, _: f"{100 - y:g}"), (twin.yaxis, lambda y, _: f"{y:g}")):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(text))
        axis.set_minor_locator(NullLocator())
    axes.set_ylabel("test accuracy (%)", fontsize=11)
    twin.set_ylabel("test error (%)", fontsize=11, color=GREY)
    twin.tick_params(colors=GREY)


def draw_cost(axes: Axes, networks: tuple[NetworkResult, ...]) -> None:
    """Draw final accuracy against trainables; names and times stand in a column beside, where they cannot overlap."""
    for index, network in enumerate(networks):
        colour = COLOURS[index % len(COLOURS)]
        mean, std = network.final_accuracy
        error = None if std is None else 100 * std
        size = network.parameters.trainable
        axes.errorbar(size, 100 * mean, yerr=error, fmt="o", color=colour, markersize=8, capsize=4, linewidth=1.5)
    sizes = [network.parameters.trainable for network in networks]
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(y=0.2)
    axes.set_xlabel("trainable parameters", fontsize=11)
    axes.set_ylabel("test accuracy, final epoch (%)", fontsize=11)
    axes.set_title("what it costs" + ("\nmean over seeds ± sample std" if band_note(networks) else ""), fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    name_points(axes, networks)


def name_points(axes: Axes, networks: tuple[NetworkResult, ...]) -> None:
    """Name each point at the right edge, at its height or as near as the other names allow, with a line to it."""
    low, high = axes.get_ylim()
    heights = [(100 * network.final_accuracy[0] - low) / (high - low) for network in networks]
    for index, place in enumerate(spread(heights, gap=LABEL_HEIGHT)):
        network = networks[index]
        colour = COLOURS[index % len(COLOURS)]
        size = network.parameters.trainable
        axes.annotate(
            f"{network.network}\n{size:,} trainables\n{network.seconds_per_epoch:.2g} s/epoch",
            (size, 100 * network.final_accuracy[0]),
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "alpha": 0.6},
        )


def spread(heights: Sequence[float], *, gap: float) -> list[float]:
    """Move heights apart to at least a gap, keeping their order and, if there is room, staying within 0..1.

    Example:
        >>> spread([0.5, 0.9, 0.91], gap=0.25)
        [0.5, 0.75, 1.0]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    places = list(heights)
    for before, after in itertools.pairwise(order):  # upwards
        places[after] = max(places[after], places[before] + gap)
    top = 1.0
    for index in reversed(order):  # and back down, where that left the top
        places[index] = min(places[index], top)
        top = places[index] - gap
    return places
