"""The report: results as a page, with the bars, pictures, tables of all cells, and where the layers lose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tnlayers.bench.bars import Bar, bars, on_gpu, own, plain, shown, to_limit
from tnlayers.bench.cell_run import Result, best_peer, best_way
from tnlayers.bench.cells import BATCHES, BONDS, LAYERS, MODES, Cell, named
from tnlayers.bench.drawn_report import drawn_section
from tnlayers.bench.gpu import Figures, load_gpu, section
from tnlayers.bench.losses import left_out, losses
from tnlayers.bench.measure import DENSE, OURS, mean
from tnlayers.bench.method import METHOD, about, opening
from tnlayers.bench.run import current_runs
from tnlayers.bench.table import row
from tnlayers.errors import TNLayersError
from tnlayers.files.atomic import write_text

_COLUMNS = (
    "dense ms",
    "ours / dense (95 %)",
    "ours / limit",
    "best peer",
    "ours / best peer (95 %)",
    "best other way, ours / it",
    "peak MB: ours, dense, peer",
    "kept MB: ours, peer",
    "rounds",
)
_GRID = "mpo, float32, one thread. Empty rows were not run; an empty column was not measured."


def write_report(data: Mapping[str, Any], page: Path, gpu: Path | None = None) -> None:
    """Write the page, and its pictures beside it.

    Args:
        data: What `run_items` gives.
        page: A Markdown file; pictures go to `img/` beside it.
        gpu: What `docs/results/gpu.py` wrote, if it was run.

    Raises:
        TNLayersError: If nothing was measured yet.
    """
    if not data["runs"]:
        raise TNLayersError("There are no results to write a page of: run `tnlayers bench` without --budget 0 first.")
    cells, growth, figures = data["cells"], data["growth"], Figures(load_gpu(gpu))
    whole = {name: r for name, r in cells.items() if {OURS, DENSE} <= r["contenders"].keys()}
    old = {name for name, r in (cells | growth).items() if r["run"] not in current_runs(data)}
    sections = [
        [*opening(data, whole)],
        ["## Bars", "", *_bars([*bars(cells, growth), on_gpu(figures)])],
        ["## At a glance", "", *_overall(whole.values()), "", *_pictures(data, page.parent / "img")],
        ["## How it is measured", "", METHOD],
        ["## Where it loses", "", *losses(whole)],
        ["## Every contender, on the named cells", "", *_contenders(whole)],
        ["## On a GPU", "", *section(figures)],
        ["## The grid", "", _GRID, "", *_grid(whole, old, figures)],
        ["## Shapes drawn at random", "", *drawn_section(whole)],
        ["## Two threads, bfloat16, jax, other network types", "", *_others(whole, old)],
        ["## What was not timed", "", *left_out(cells)],
        ["## Runs", "", *about(data, old)],
    ]
    write_text(page, "\n".join("\n".join([*lines, ""]) for lines in sections).rstrip() + "\n")


def _bars(found: Iterable[Bar]) -> Iterator[str]:
    found = list(found)
    yield (
        "A bar on a ratio is met when the median reaches it, and missed within noise where only the 95 % interval "
        "does. Open: not run."
    )
    yield ""
    yield "| bar | measured | |"
    yield "| --- | --- | --- |"
    for bar in found:
        yield row([bar.asked, bar.measured, "**not met**" if bar.verdict == "not met" else bar.verdict])
    for bar in (bar for bar in found if bar.missed):
        yield ""
        yield f"Missed, {bar.asked}: {', '.join(bar.missed)}."


def _pictures(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Draw what there are results for, and link it."""
    from tnlayers.bench import pictures

    folder.mkdir(parents=True, exist_ok=True)
    cells = data["cells"].values()
    for ratio, name, words in (
        (pictures.to_dense, "dense", "that of the dense layer"),
        (pictures.to_peer, "peers", "that of the best peer"),
    ):
        pictures.heat_map(cells, folder / f"bench-{name}.png", ratio=ratio, label=f"our time / {words} (blue: faster)")
        if name != "dense":  # which opens the page
            yield f"![Our time over {words}, in every cell of the grid]({folder.name}/bench-{name}.png)"
            yield ""
    pictures.roofline(cells, data["runs"][-1], folder / "bench-roofline.png")
    yield f"![Flops per second of ours and of the best peer under the machine's roof]({folder.name}/bench-roofline.png)"
    if data["growth"]:
        pictures.growth(data["growth"], folder / "bench-growth.png")
        yield ""
        yield f"![Time and memory as bonds, cores and batches grow, and predicted]({folder.name}/bench-growth.png)"


def _overall(results: Iterable[Result]) -> Iterator[str]:
    """Geometric means over groups of cells of the grid."""
    found = [r for r in results if plain(r["cell"])]
    yield "Geometric means over the cells of the grid that were run."
    yield ""
    yield "| cells | n | ours / dense | ours / limit | ours / best peer |"
    yield "| --- | --- | --- | --- | --- |"
    for mode in MODES:
        for words, low, high in (("1", 1, 1), ("32 and 128", 32, 128), ("1024 and 4096", 1024, 4096)):
            group = [r for r in found if r["cell"]["mode"] == mode and low <= r["cell"]["batch"] <= high]
            peers = [r["contenders"][peer]["ours_to"][0] for r in group if (peer := best_peer(r)) is not None]
            if group:
                yield row(
                    [
                        f"{mode}, batch {words}",
                        str(len(group)),
                        f"{mean(own(r)['to_dense'][0] for r in group):.2f}",
                        f"{mean(to_limit(r)[0] for r in group):.2f}",
                        f"{mean(peers):.2f}" if peers else "",
                    ]
                )


def _grid(results: Mapping[str, Result], old: set[str], gpu: Figures) -> Iterator[str]:
    """A table per layer; the last column is the GPU's."""
    for i, o, c in LAYERS:
        yield f"### {i} to {o}, {c} cores"
        yield ""
        yield row(["bond", "batch", "mode", *_COLUMNS, "GPU: ours / dense"])
        yield row(["---"] * (4 + len(_COLUMNS)))
        for r in BONDS:
            for b in BATCHES:
                for mode in MODES:
                    cell = Cell(in_features=i, out_features=o, cores=c, bond=r, batch=b, mode=mode)
                    fields = _fields(results.get(cell.name))
                    yield row([str(r), str(b), mode + (" †" if cell.name in old else ""), *fields, gpu.column(cell)])
        yield ""


def _others(results: Mapping[str, Result], old: set[str]) -> Iterator[str]:
    yield "Ratios are to the dense layer of the same dtype, threads and framework."
    yield ""
    yield row(["layer", "spec", "setting", "batch", "mode", *_COLUMNS])
    yield row(["---"] * (5 + len(_COLUMNS)))
    for name, r in results.items():
        cell = r["cell"]
        if not plain(cell) and not cell.get("drawn"):
            setting = [cell["dtype"], f"{cell['threads']} thread{'s' * (cell['threads'] > 1)}", cell["framework"]]
            size = f"{cell['in_features']} to {cell['out_features']}"
            network = cell["network"] or f"mpo(cores={cell['cores']}, bond={cell['bond']})"
            network_cell = f"`{network}`, {r['parameters']:,} parameters"
            mode = cell["mode"] + (" †" if name in old else "")
            yield row([size, network_cell, ", ".join(setting), str(cell["batch"]), mode, *_fields(r)])


def _fields(result: Result | None) -> list[str]:
    """The columns of a cell."""
    if result is None:
        return [""] * len(_COLUMNS)
    contenders, ours = result["contenders"], own(result)
    peer, way = best_peer(result), best_way(result)
    peaks = [contenders[name]["peak_bytes"] for name in (OURS, DENSE, peer) if name is not None]
    kept = [contenders[name]["kept_bytes"] for name in (OURS, peer) if name is not None]
    return [
        f"{1e3 * contenders[DENSE]['seconds']:.3g}",
        shown(ours["to_dense"]),
        f"{to_limit(result)[0]:.2f}",
        peer or "",
        shown(contenders[peer]["ours_to"]) if peer else "",
        f"{way} {contenders[way]['ours_to'][0]:.2f}" if way else "",
        ", ".join(f"{size / 1e6:.3g}" for size in peaks),
        ", ".join(f"{size / 1e6:.3g}" for size in kept) if result["cell"]["mode"] == "training" else "",
        str(ours["rounds"]),
    ]


def _contenders(results: Mapping[str, Result]) -> Iterator[str]:
    """Contenders down, named cells across: time over dense, and memory."""
    yield "About: far slower than our layer, so only called once or twice, and its memory not looked at."
    yield ""
    for mode in MODES:
        found = [results[cell.name] for cell in named() if cell.mode == mode and cell.name in results]
        if not found:
            continue
        names = dict.fromkeys(name for r in found for name in (*r["contenders"], *r["left_out"]))
        heads = [
            f"{c['in_features']} to {c['out_features']}, bond {c['bond']}, batch {c['batch']}"
            for c in (r["cell"] for r in found)
        ]
        yield f"{mode.capitalize()}: time over the dense layer's; in brackets peak MB" + (
            " / kept MB." if mode == "training" else "."
        )
        yield ""
        yield row(["contender", *heads])
        yield row(["---"] * (1 + len(heads)))
        for name in names:
            yield row([name, *(_contender(r, name) for r in found)])
        yield row(["limit", *(f"{r['limit']['seconds'] / r['contenders'][DENSE]['seconds']:.2f}" for r in found)])
        yield ""


def _contender(result: Result, name: str) -> str:
    numbers = result["contenders"].get(name)
    if numbers is None:
        left = result["left_out"].get(name, {"why": ""})
        dense = result["contenders"][DENSE]["seconds"]
        return f"about {left['seconds'] / dense:.2g}" if "seconds" in left else str(left["why"])
    kept = f" / {numbers['kept_bytes'] / 1e6:.3g}" if result["cell"]["mode"] == "training" else ""
    return f"{numbers['to_dense'][0]:.2f} ({numbers['peak_bytes'] / 1e6:.3g}{kept})"
