"""Tables and picture of docs/compression-mnist.md from the stored rows: mean and standard deviation over the seeds."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from marks import filled
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "compression-mnist.md"
PICTURE = HERE.parent / "img" / "compression-mnist.png"
STORES = {name: HERE / f"compression-{name}.json" for name in ("fc2", "lenet5")}
STAGES = ("none", "sample", "repaired", "scratch")
COLOURS = {"mpo(cores=4)": "#D55E00", "mpo(cores=2)": "#E69F00", "lowrank": "#0072B2", "torch-mpo": "#777777"}
TITLES = {"fc2": "FC2", "lenet5": "LeNet-5"}
STYLES = {"none": ":", "sample": "--", "repaired": "-", "scratch": "-."}
TOLD = {"none": "weights only", "sample": "sample", "repaired": "repaired", "scratch": "from scratch"}
HEAD = "| asked | network | parameters | test, weights only | test, sample | test, repaired | test, from scratch |"


def write_page() -> None:
    """Put a table for each model between its marks, and draw the picture anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw({name: json.loads(path.read_text())["rows"] for name, path in STORES.items() if path.exists()})


def written(text: str) -> str:
    """The page with the tables of what is stored now."""
    for name, path in STORES.items():
        if path.exists():
            text = filled(text, name, table(json.loads(path.read_text())))
    return text


def table(stored: dict[str, Any]) -> str:
    """One line for each budget and network, and how they were made."""
    rows: list[dict[str, Any]] = stored["rows"]
    lines = [HEAD, "|---" * 7 + "|"]
    for asked, network in sorted({(row["asked"], row["network"]) for row in rows}, key=_order):
        own = [row for row in rows if (row["asked"], row["network"]) == (asked, network)]
        cells = [_told([row["test"] for row in own if row["stage"] == stage]) for stage in STAGES]
        sizes = sorted({row["parameters"] for row in own})
        size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        lines.append(f"| {asked:g} | {network} | {size} | {' | '.join(cells)} |")
    environment, seeds = stored["environment"], sorted({row["seed"] for row in rows})
    repair, scratch = stored["repair"], stored["scratch"]
    lines += [
        "",
        f"- command: `{stored['command']}`",
        f"- sample: {stored['sample']['images']:,} images; repair: {repair['sweeps']} sweeps on "
        f"{repair['least_squares']:,}, then {repair['epochs']} epochs of distillation on {repair['distil']:,} at a "
        f"learning rate of {repair['lr']}",
        f"- from scratch: {scratch['epochs']} epochs of {scratch['optimizer']} at {scratch['lr']}, batches of "
        f"{scratch['batch']}, {scratch['images']:,} images",
        f"- commits: {', '.join(dict.fromkeys(row['commit'] for row in rows))}; seeds {', '.join(map(str, seeds))}",
        f"- machine: {environment['device']}, {environment['threads']} thread, torch {environment['torch']}",
    ]
    return "\n".join(lines) + "\n"


def _order(key: tuple[float, str]) -> tuple[float, str]:
    return -key[0], key[1]


def _told(values: list[float]) -> str:
    """Mean and standard deviation in per cent, and how many where they are not three."""
    if not values:
        return ""
    mean = f"{statistics.mean(values) * 100:.2f}"
    if len(values) == 1:
        return f"{mean} (1 seed)"
    return f"{mean} ± {statistics.stdev(values) * 100:.2f}" + ("" if len(values) == 3 else f" ({len(values)} seeds)")


def draw(models: dict[str, list[dict[str, Any]]]) -> None:
    """Wrong answers against the parameters that are left, both on logarithmic axes; bars are standard deviations."""
    figure = Figure(figsize=(12, 5.2), dpi=110, layout="constrained")
    for axes, (name, rows) in zip(
        figure.subplots(1, len(models), sharey=True, squeeze=False)[0], models.items(), strict=True
    ):
        for network, colour in COLOURS.items():
            for stage, style in STYLES.items():
                own = [row for row in rows if (row["network"], row["stage"]) == (network, stage)]
                if own:
                    _curve(axes, own, colour, style, f"{network}, {TOLD[stage]}")
        dense = [1 - row["test"] for row in rows if (row["network"], row["stage"]) == ("dense", "none")]
        axes.axhline(100 * statistics.mean(dense), color="black", linewidth=0.8, label="dense")
        axes.set(xscale="log", yscale="log", title=TITLES[name], xlabel="share of all parameters")
        axes.minorticks_off()
        axes.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
        axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.axes[0].set_ylabel("wrong answers, % of the test images")
    figure.savefig(PICTURE)


def _curve(axes: Any, rows: list[dict[str, Any]], colour: str, style: str, told: str) -> None:
    asked = sorted({row["asked"] for row in rows})
    wrong = [[100 * (1 - row["test"]) for row in rows if row["asked"] == ratio] for ratio in asked]
    means = [statistics.mean(values) for values in wrong]
    bars = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in wrong]
    axes.errorbar(
        asked, means, bars, color=colour, linestyle=style, marker="o", markersize=3, linewidth=1.5, label=told
    )
