"""Pictures of the benchmark: heat maps of ratios, a roofline, and cost as work grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from tnlayers.bench.bars import own, plain
from tnlayers.bench.cell_run import Result, best_peer
from tnlayers.bench.cells import BATCHES, BONDS, LAYERS, MODES
from tnlayers.bench.measure import DENSE, OURS
from tnlayers.files.atomic import replacing

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#59636e"
_SPAN = 8.0  # ratios beyond 1/8 and 8 have the last colours


def heat_map(results: Iterable[Result], path: Path, *, ratio: Callable[[Result], float | None], label: str) -> None:
    """A ratio in every cell of the grid: layers and bonds down, batches across, one panel per mode; grey is not run.

    Args:
        results: Of any cells; those of the grid are drawn.
        path: Where to write the PNG.
        ratio: The number of a cell; below 1 is good, and blue.
        label: What the number is.
    """
    rows = [(*layer, bond) for layer in LAYERS for bond in BONDS]
    found = [r for r in results if plain(r["cell"])]
    figure, panels = plt.subplots(1, 2, figsize=(9, 6.6), sharey=True, layout="constrained")
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#e6e6e6")
    norm = LogNorm(1 / _SPAN, _SPAN)
    for panel, mode in zip(panels, MODES, strict=True):
        grid = np.full((len(rows), len(BATCHES)), np.nan)
        for r in found:
            cell = r["cell"]
            key = (cell["in_features"], cell["out_features"], cell["cores"], cell["bond"])
            if cell["mode"] == mode and key in rows and cell["batch"] in BATCHES and (value := ratio(r)) is not None:
                grid[rows.index(key), BATCHES.index(cell["batch"])] = value
        image = panel.imshow(np.ma.masked_invalid(grid), norm=norm, cmap=colours, aspect="auto")
        for (y, x), value in np.ndenumerate(grid):
            if not np.isnan(value):
                dark = abs(np.log(value)) > 0.6 * np.log(_SPAN)
                panel.text(
                    x, y, f"{value:.2g}", ha="center", va="center", fontsize=8, color="white" if dark else "black"
                )
        for y in range(len(BONDS), len(rows), len(BONDS)):
            panel.axhline(y - 0.5, color="white", linewidth=3)
        panel.set(title=mode, xlabel="batch", xticks=range(len(BATCHES)), xticklabels=BATCHES)
        panel.set(yticks=range(len(rows)), yticklabels=[f"{i} to {o}, {c} cores, bond {r}" for i, o, c, r in rows])
        panel.tick_params(length=0)
    bar = figure.colorbar(
        image, ax=panels, label=label, shrink=0.7, extend="both", ticks=[1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    )
    bar.ax.set_yticklabels(["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    bar.ax.minorticks_off()
    _save(figure, path)


def to_dense(result: Result) -> float | None:
    """Our time over the dense layer's."""
    return float(own(result)["to_dense"][0]) if {OURS, DENSE} <= result["contenders"].keys() else None


def to_peer(result: Result) -> float | None:
    """Our time over the best peer's."""
    peer = best_peer(result)
    return None if peer is None or OURS not in result["contenders"] else result["contenders"][peer]["ours_to"][0]


def roofline(results: Iterable[Result], run: Mapping[str, Any], path: Path) -> None:
    """Flops of the best plan per second, over its flops per compulsory byte, under what the machine can do.

    A peer's point has the same flops as ours in its cell: what it computes beyond the best plan is no use.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
    found = [r for r in results if plain(r["cell"]) and OURS in r["contenders"]]
    for panel, mode in zip(panels, MODES, strict=True):
        points: dict[str, list[tuple[float, float]]] = {OURS: [], "best peer": []}
        for r in (r for r in found if r["cell"]["mode"] == mode):
            across, peer = r["limit"]["flops"] / r["limit"]["bytes"], best_peer(r)
            points[OURS].append((across, r["limit"]["flops"] / own(r)["seconds"] / 1e9))
            if peer is not None:
                points["best peer"].append((across, r["limit"]["flops"] / r["contenders"][peer]["seconds"] / 1e9))
        for (name, both), marker, colour in zip(points.items(), ("o", "x"), (_BLUE, _ORANGE), strict=True):
            if both:
                panel.scatter(*zip(*both, strict=True), s=22, marker=marker, color=colour, label=name, linewidths=1.2)
        low, high = panel.get_xlim() if found else (1.0, 100.0)
        line = np.geomspace(max(low, 0.3), max(high, 1000.0), 100)
        roof = np.minimum(run["peak_flops"], run["read_bytes"] * line) / 1e9
        panel.plot(line, roof, color=_GREY, linewidth=1.2, label="machine: memory, then products", zorder=0)
        panel.set(xscale="log", yscale="log", title=mode, xlabel="flops of the best plan / compulsory byte")
    panels[0].set_ylabel("Gflop/s of the best plan's flops")
    panels[0].legend(fontsize=8, loc="lower right", framealpha=0.9)
    _save(figure, path)


def growth(points: Mapping[str, Result], path: Path) -> None:
    """Measured time and memory as dots, the plan's predictions as lines, over bonds, numbers of cores, and batches."""
    names = {
        "bond": "bond (4096 to 4096, 3 cores, batch 128)",
        "cores": "cores (4096 to 4096, bond 16, batch 128)",
        "batch": "batch (1024 to 1024, 4 cores, bond 16)",
    }
    figure, panels = plt.subplots(2, 3, figsize=(10, 5.8), sharex="col", layout="constrained")
    for column, (along, words) in zip(panels.T, names.items(), strict=True):
        column[1].set_xlabel(words, fontsize=9)
        curves = [[p for p in points.values() if (p["along"], p["mode"]) == (along, mode)] for mode in MODES]
        for found, mode, colour, marker in zip(curves, MODES, (_BLUE, _ORANGE), ("o", "s"), strict=True):
            if found:
                _curves(column, sorted(found, key=lambda p: p["value"]), mode, color=colour, marker=marker)
        ticks = sorted({p["value"] for found in curves for p in found})
        shown = ticks if len(ticks) < 8 else ticks[::2]
        column[1].set_xticks(shown, [str(n) for n in shown])
        column[1].minorticks_off()
    panels[0, 0].set_ylabel("ms per call")
    panels[1, 0].set_ylabel("peak MB")
    next(panel for panel in panels[0] if panel.lines).legend(fontsize=7.5, framealpha=0.9)
    _save(figure, path)


def _curves(panels: Any, found: list[Result], mode: str, *, color: str, marker: str) -> None:
    """One mode's points over one axis: times above, memory below."""
    across = [p["value"] for p in found]
    for panel, measured, predicted in (
        (panels[0], [1e3 * p["seconds"][0] for p in found], [1e3 * p["predicted_seconds"] for p in found]),
        (panels[1], [p["peak_bytes"] / 1e6 for p in found], [p["predicted_bytes"] / 1e6 for p in found]),
    ):
        panel.plot(across, predicted, color=color, linewidth=1, label=f"{mode}, predicted")
        panel.plot(across, measured, marker, color=color, markersize=4.5, label=f"{mode}, measured")
        panel.set(xscale="log", yscale="log")


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=110, metadata={"Software": None})
    plt.close(figure)
