"""The pictures of docs/paper.md: in the form of the paper's Figs. 2 and 3, and accuracy against what it costs.

Equal data give equal files, byte for byte, under one version of matplotlib; each file has a digest of its data, so
that a stale picture is found under any.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnlayers.files.atomic import replacing
from tnlayers.reproduce.cells import Structure
from tnlayers.reproduce.paper import Row, rows
from tnlayers.reproduce.recipe_text import Run, accelerated, recipe_name
from tnlayers.reproduce.store import of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which colour-blind people can tell apart
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A measured accuracy in percent, of the best test epoch: mean, deviation over seeds (0 with one), and seeds.

    Attributes:
        recipe: Told in words, with the epochs last.
    """

    row: Row
    mean: float
    std: float
    seeds: int
    recipe: str
    weights: int
    flops: int


def points(part: str, runs: Sequence[Run], structure: Structure) -> list[Point]:
    """What was measured for the rows of a part, by every recipe."""
    found = []
    for row in rows(part):
        for group in of(runs, row.model, row.network, row.data):
            values = [100 * run["best_test_accuracy"] for run in group]
            counts = structure[row.model][row.network]
            found.append(
                Point(
                    row=row,
                    mean=statistics.mean(values),
                    std=statistics.stdev(values) if len(values) > 1 else 0.0,
                    seeds=len(values),
                    recipe=_words(group[0]),
                    weights=counts["weights"],
                    flops=counts["flops"],
                )
            )
    return found


def _words(run: Run) -> str:
    epochs = f"{run['recipe']['epochs']} epochs{' on a GPU' if accelerated(run) else ''}"
    return ", ".join([*(part for part in recipe_name(run).split(", ") if not part.startswith("epochs ")), epochs])


def series(measured: Sequence[Point]) -> dict[str, list[Point]]:
    """Points by recipe, the recipe with most of them first; a recipe with one point shows no course and is left out."""
    found: dict[str, list[Point]] = {}
    for point in measured:
        found.setdefault(point.recipe, []).append(point)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return {recipe: line for recipe, line in ordered if len(line) > 1}


def draw(folder: Path, runs: Sequence[Run], structure: Structure) -> None:
    """Write paper-fig2.svg, paper-fig3.svg, paper-cost.svg (MNIST) and paper-cifar.svg.

    Args:
        folder: Made if it is not there.
        runs: Of the store.
        structure: Of the store.
    """
    import matplotlib
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    everything = points("all", runs, structure)
    wanted: list[tuple[str, list[Point], Callable[[Figure, list[Point]], None], tuple[float, float]]] = [
        ("fig2", points("fig2", runs, structure), _fig2, (8.6, 5.4)),
        ("fig3", points("fig3", runs, structure), _fig3, (8.6, 5.0)),
        ("cost", [p for p in everything if p.row.data == "mnist"], _cost, (11.0, 4.8)),
        ("cifar", [p for p in everything if p.row.data == "cifar10"], _cifar, (11.0, 5.2)),
    ]
    with matplotlib.rc_context({"svg.hashsalt": "tnlayers", "svg.fonttype": "none", "font.size": 10}):
        for part, measured, draw_part, size in wanted:
            figure = Figure(figsize=size, layout="constrained")
            draw_part(figure, measured)
            with replacing(folder / f"paper-{part}.svg") as file:
                metadata: dict[str, Any] = {"Date": None, "Description": digest(part, measured)}
                figure.savefig(file, format="svg", metadata=metadata)


def digest(part: str, measured: Sequence[Point]) -> str:
    """A text that differs where what is drawn differs."""
    drawn = [part, [repr(row) for row in rows()], [repr(point) for point in measured]]
    return hashlib.sha256(json.dumps(drawn).encode()).hexdigest()


def _fig2(figure: Figure, measured: list[Point]) -> None:
    axes = figure.subplots()
    paper = [row for row in rows("fig2") if row.at]
    (dense,) = (row for row in rows("fig2") if not row.at)
    assert dense.accuracy is not None
    mean, std = dense.accuracy
    axes.axhline(mean, color=GREY, linestyle="--", label="paper, dense")
    axes.axhspan(mean - std, mean + std, color=GREY, alpha=0.12, linewidth=0)
    _errorbar(axes, [(row.at, *(row.accuracy or (0, 0))) for row in paper], GREY, "paper, MPO", "o-", filled=False)
    for (recipe, line), colour, marker in zip(series(measured).items(), (ORANGE, BLUE, PURPLE), "s^D", strict=False):
        ours = [(p.row.at, p.mean, p.std) for p in line if p.row.at]
        if ours:
            _errorbar(axes, ours, colour, f"measured MPO ({recipe})", f"{marker}-", filled=True)
        for point in line:
            if not point.row.at:
                axes.axhline(
                    point.mean, color=colour, linestyle=":", label=f"measured dense ({recipe}; {_seeds(point)})"
                )
    ratio = axes.twinx()
    ratio.plot([row.at for row in paper], [float(row.rho) for row in paper], ":", color=GREEN, label="paper, rho")
    ratio.set_ylabel("rho", color=GREEN)
    ratio.set_ylim(0, 0.2)
    axes.set_xlabel("bond of the first layer")
    axes.set_xticks([row.at for row in paper])
    _finish(figure, axes)


def _fig3(figure: Figure, measured: list[Point]) -> None:
    axes = figure.subplots()
    measured = [point for point in measured if point.row.accuracy is not None]  # the unit variant is no point there
    for network, words, marker, shift in (("dense", "ResNet", "o-", -0.5), ("mpo", "MPO-Net", "D-", 0.5)):
        line = [(row.at + shift, *row.accuracy) for row in rows("fig3") if row.network == network and row.accuracy]
        colour = BLUE if network == "dense" else ORANGE
        _errorbar(axes, line, colour, f"paper, {words}", marker, filled=False)
        for (recipe, points_of), form in zip(series(measured).items(), "s^v", strict=False):
            ours = [(p.row.at + shift, p.mean, p.std) for p in points_of if p.row.network == network]
            if ours:
                _errorbar(axes, ours, colour, f"measured {words} ({recipe})", form, filled=True)
    if not measured:
        axes.text(0.02, 0.94, "nothing measured yet", transform=axes.transAxes, color=GREY)
    axes.set_xlabel("depth")
    _finish(figure, axes)


def _cost(figure: Figure, measured: list[Point]) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    names = {"fc2": "FC2", "lenet5": "LeNet-5"}
    for model, colour in (("fc2", ORANGE), ("lenet5", BLUE)):
        lines = series([p for p in measured if p.row.model == model])
        for (recipe, line), (mark, dash) in zip(lines.items(), (("o", "-"), ("s", "--")), strict=False):
            for form, filled in (("mpo", True), ("dense", False)):
                ours = [p for p in line if p.row.network.startswith(form)]
                label = f"{names[model]}, {'MPO' if filled else 'dense'} ({recipe})"
                places = [
                    [(p.row.at, p) for p in ours if p.row.at],
                    [(p.weights, p) for p in ours],
                    [(p.flops, p) for p in ours],
                ]
                for axes, pairs in zip(panels, places, strict=True):
                    if pairs:
                        style = f"{mark}{dash}" if len(pairs) > 1 else mark
                        _errorbar(axes, [(x, p.mean, p.std) for x, p in pairs], colour, label, style, filled=filled)
    against = ("bond of FC2's first layer", "weights of the model", "flops of one image")
    for axes, words in zip(panels, against, strict=True):
        axes.set_xlabel(words)
        axes.grid(alpha=0.25)
    panels[0].set_xticks(range(2, 23, 4))
    for axes, ticks in zip(panels[1:], ((1e3, 1e4, 1e5), (1e5, 2e5, 5e5, 1e6)), strict=True):
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick / 1000:g} k" for tick in ticks])
        axes.minorticks_off()
    panels[0].set_ylabel("best test accuracy, %")
    _legend(figure, panels[1])


def _cifar(figure: Figure, measured: list[Point]) -> None:
    """Every model and recipe of which two forms were run."""
    weights, flops = figure.subplots(1, 2, sharey=True)
    colours = (ORANGE, BLUE, GREEN, PURPLE, GREY)
    models = dict.fromkeys(point.row.model for point in measured)
    for number, model in enumerate(models):
        lines = series([point for point in measured if point.row.model == model])
        for (recipe, line), marker in zip(lines.items(), "osD^v", strict=False):
            for point in line:
                label = f"{model}, {point.row.network} ({recipe})"
                for axes, x in ((weights, point.weights / 1e6), (flops, point.flops / 1e6)):
                    place = [(x, point.mean, point.std)]
                    filled = point.row.network != "dense"
                    _errorbar(axes, place, colours[number % len(colours)], label, marker, filled=filled)
    for axes, against, ticks in (
        (weights, "million weights of the model", (1, 2, 5, 10, 20, 30)),
        (flops, "million flops of one image", (300, 1000, 3000, 10_000)),
    ):
        axes.set_xlabel(against)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(0.8 * ticks[0], 1.6 * ticks[-1])
        axes.margins(y=0.2)
        axes.grid(alpha=0.25)
    weights.set_ylabel("best test accuracy, %")
    _legend(figure, weights)


def _errorbar(
    axes: Axes, line: Sequence[tuple[float, float, float]], colour: str, label: str, style: str, *, filled: bool
) -> None:
    x, mean, std = zip(*line, strict=True)
    look: dict[str, Any] = {"color": colour, "markerfacecolor": colour if filled else "white"}
    axes.errorbar(x, mean, yerr=std, fmt=style, capsize=3, linewidth=1.2, label=label, **look)


def _finish(figure: Figure, axes: Axes) -> None:
    axes.set_ylabel("best test accuracy, %")
    axes.grid(alpha=0.25)
    _legend(figure, axes)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the panels, where names of recipes of any length cover nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, frameon=False, fontsize=8, ncols=2, loc="outside lower center")


def _seeds(point: Point) -> str:
    return f"{point.seeds} seed{'s' if point.seeds > 1 else ''}"
