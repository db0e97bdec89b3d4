"""The report: results as a page with tables and two pictures, a heat map of ratios and a roofline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp, log
from pathlib import Path
from typing import Any

from tnlayers.bench.cells import BATCHES, BONDS, LAYERS, MODES
from tnlayers.bench.contenders import OWN
from tnlayers.bench.run import best_peer

Result = dict[str, Any]

_METHOD = (
    "All contenders of a cell run in one process, in turns, in a new order each round; times are medians of calls, "
    "ratios are medians over rounds of times taken in the same round, with a 95 % interval by bootstrap. `limit` is "
    "the time that the products of our plan take by themselves at the rate measured for exactly their shapes, or the "
    "compulsory bytes if those take longer. Memory is what a call allocates at once; kept is what the forward pass "
    "leaves for the backward pass."
)
_COLUMNS = (
    "cell",
    "dense ms",
    "ours / dense (95 %)",
    "ours / limit",
    "best peer",
    "best peer / ours",
    "best other way / ours",
    "peak MB: ours, dense",
    "kept MB",
)


def write_report(data: dict[str, Any], page: Path) -> None:
    """Write the page, and its pictures beside it.

    Args:
        data: What `run_cells` gives.
        page: A Markdown file; pictures go to `img/` beside it.
    """
    images = page.parent / "img"
    images.mkdir(parents=True, exist_ok=True)
    results = list(data["cells"].values())
    heat_map(results, images / "bench-ratios.png")
    roofline(results, images / "bench-roofline.png")
    machine, versions = data["machine"], data["versions"]
    lines = [
        "# Benchmarks",
        "",
        f"Measured by `tnlayers bench` on {machine['cpu']} ({machine['cores']} cores), Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f". At most {data['cap_seconds']:g} s per cell.",
        "",
        _METHOD,
        "",
        "![Time of a call divided by that of the dense layer](img/bench-ratios.png)",
        "",
        "![Share of the limit that is reached](img/bench-roofline.png)",
        "",
        *overall(results),
        "",
        *table(results),
        "",
        *lost(results),
        "",
        *failures(results),
    ]
    page.write_text("\n".join(lines).rstrip() + "\n")


def overall(results: Iterable[Result]) -> list[str]:
    """Geometric means over groups of cells."""
    lines = ["| cells | n | time / dense | time / limit | best peer / ours |", "| --- | --- | --- | --- | --- |"]
    for mode in MODES:
        for few in (True, False):
            group = [r for r in results if r["cell"]["mode"] == mode and (r["cell"]["batch"] < 32) == few]
            if group:
                own = [r["contenders"]["tnlayers"] for r in group]
                peers = [(peer[1], c["seconds"]) for r, c in zip(group, own, strict=True) if (peer := best_peer(r))]
                lines.append(
                    f"| {mode}, batch {'below 32' if few else '32 and more'} | {len(group)} | "
                    f"{_mean(c['to_dense'] for c in own):.2f} | "
                    f"{_mean(c['seconds'] / r['limit_seconds'] for c, r in zip(own, group, strict=True)):.2f} | "
                    f"{_mean(theirs / mine for theirs, mine in peers):.2f} |"
                )
    return lines


def table(results: Iterable[Result]) -> list[str]:
    """One row per cell."""
    return [_row(_COLUMNS), _row(["---"] * len(_COLUMNS)), *(_row(_fields(result)) for result in results)]


def _fields(result: Result) -> Iterator[str]:
    contenders = result["contenders"]
    own, dense = contenders["tnlayers"], contenders["dense"]
    yield _name(result)
    yield f"{1e3 * dense['seconds']:.3g}"
    low, high = own["to_dense_95"]
    yield f"{own['to_dense']:.2f} ({low:.2f} to {high:.2f})"
    yield f"{own['seconds'] / result['limit_seconds']:.2f}"
    peer = best_peer(result)
    yield peer[0] if peer else ""
    yield f"{peer[1] / own['seconds']:.2f}" if peer else ""
    others = {name: c["seconds"] for name, c in contenders.items() if name in OWN and name not in ("tnlayers", "dense")}
    other = min(others, key=lambda name: others[name]) if others else ""
    yield f"{other} {others[other] / own['seconds']:.2f}" if other else ""
    yield f"{own['peak_bytes'] / 1e6:.3g}, {dense['peak_bytes'] / 1e6:.3g}"
    yield f"{own['kept_bytes'] / 1e6:.3g}"


def _row(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def lost(results: Iterable[Result]) -> list[str]:
    """The cells in which another library is more than a tenth faster."""
    found = [(r, peer) for r in results if (peer := best_peer(r))]
    slower = [(r, p) for r, p in found if p[1] * 1.1 < r["contenders"]["tnlayers"]["seconds"]]
    if not slower:
        return [f"In none of the {len(found)} cells is another library more than a tenth faster."]
    lines = [f"Another library is more than a tenth faster in {len(slower)} of {len(found)} cells:", ""]
    for r, (name, seconds) in slower:
        lines.append(f"- {_name(r)}: {name} takes {seconds / r['contenders']['tnlayers']['seconds']:.2f} of our time")
    return lines


def failures(results: Iterable[Result]) -> list[str]:
    """What could not be run, once per contender and reason."""
    reasons: dict[tuple[str, str], int] = {}
    for r in results:
        for name, why in r["failed"].items():
            reasons[name, why] = reasons.get((name, why), 0) + 1
    return [f"- {name} did not run in {n} cell(s): {why}" for (name, why), n in reasons.items()]


def heat_map(results: list[Result], path: Path) -> None:
    """Time over that of the dense layer: layers and bonds down, batches across, one panel per mode."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.colors import LogNorm

    rows = [(i, o, c, r) for i, o, c in LAYERS for r in BONDS]
    figure, panels = plt.subplots(1, 2, figsize=(9, 6), sharey=True, layout="constrained")
    for panel, mode in zip(panels, MODES, strict=True):
        grid = np.full((len(rows), len(BATCHES)), np.nan)
        for r in results:
            cell = r["cell"]
            key = (cell["in_features"], cell["out_features"], cell["cores"], cell["bond"])
            plain = cell["dtype"] == "float32" and cell["threads"] == 1 and not cell["network"]
            if plain and cell["mode"] == mode and key in rows and cell["batch"] in BATCHES:
                grid[rows.index(key), BATCHES.index(cell["batch"])] = r["contenders"]["tnlayers"]["to_dense"]
        image = panel.imshow(grid, norm=LogNorm(0.05, 20), cmap="PuOr_r", aspect="auto")
        for (y, x), value in np.ndenumerate(grid):
            if not np.isnan(value):
                panel.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=7)
        panel.set(title=mode, xlabel="batch", xticks=range(len(BATCHES)), xticklabels=BATCHES)
        panel.set(yticks=range(len(rows)), yticklabels=[f"{i} to {o}, {c} cores, bond {r}" for i, o, c, r in rows])
    figure.colorbar(image, ax=panels, label="time / dense layer (below 1 is faster)", shrink=0.7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def roofline(results: list[Result], path: Path) -> None:
    """Time over the limit, against the limit: how far from what the machine could do, small calls to large ones."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, marker, colour), mode in [
        (style, mode) for style in (("tnlayers", "o", "#0072B2"), ("best peer", "x", "#D55E00")) for mode in MODES
    ]:
        points = []
        for r in results:
            if r["cell"]["mode"] == mode:
                peer = best_peer(r)
                seconds = r["contenders"]["tnlayers"]["seconds"] if name == "tnlayers" else peer and peer[1]
                if seconds:
                    points.append((r["limit_seconds"], seconds / r["limit_seconds"]))
        if points:
            alpha = 1.0 if mode == "training" else 0.45
            axes.scatter(*zip(*points, strict=True), marker=marker, color=colour, alpha=alpha, label=f"{name}, {mode}")
    axes.axhline(1, color="black", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="limit, seconds per call", ylabel="time / limit")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _name(result: Result) -> str:
    cell = result["cell"]
    network = cell["network"] or f"{cell['cores']} cores, bond {cell['bond']}"
    rest = "" if (cell["dtype"], cell["threads"]) == ("float32", 1) else f", {cell['dtype']}, {cell['threads']} threads"
    return f"{cell['in_features']} to {cell['out_features']}, {network}, batch {cell['batch']}, {cell['mode']}{rest}"


def _mean(ratios: Iterable[float]) -> float:
    """Geometric mean; nan of nothing."""
    logs = [log(ratio) for ratio in ratios]
    return exp(sum(logs) / len(logs)) if logs else float("nan")
