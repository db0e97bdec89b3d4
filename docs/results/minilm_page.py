"""Tables and picture of docs/minilm.md from the stored rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marks import filled
from matplotlib.figure import Figure

PAGE = Path(__file__).resolve().parent.parent / "minilm.md"
PICTURE = PAGE.parent / "img" / "minilm.png"
COLOURS = {"lowrank": "#0072B2", "mpo(cores=2)": "#D55E00", "mpo(cores=3)": "#009E73", "tucker": "#CC79A7"}
SPLITS = {"uniform": ":", "own": "-"}
HEAD = (
    "| network | sample | split | repair | delivered | whole model | cosine | Spearman | weight error | output error "
    "| ms | of dense | MB |"
)


def write_page(stored: dict[str, Any]) -> None:
    """Put tables into the page between its marks, and draw the picture anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), stored), encoding="utf-8")
    draw(stored["rows"])


def written(text: str, stored: dict[str, Any]) -> str:
    """The page with the tables of what is stored."""
    return filled(text, "tables", tables(stored))


def tables(stored: dict[str, Any]) -> str:
    """One table for each budget, and how they were made."""
    lines: list[str] = []
    rows = stored["rows"]
    dense = next(row for row in rows if row["network"] == "dense")
    for asked in sorted({row["asked"] for row in rows if "asked" in row}, reverse=True):
        lines += [f"## {asked} of the linear layers' parameters", "", HEAD, "|---" * 13 + "|"]
        own = [row for row in rows if row.get("asked") == asked]
        lines += map(_line, sorted(own, key=lambda row: -row["spearman"]))
        lines.append("")
    lines += [
        f"The dense model: {dense['ms_per_sentence']:.1f} ms, {dense['bytes'] / 1e6:.1f} MB.",
        "",
        *(f"- {key}: {value}" for key, value in stored["about"].items()),
        f"- commits: {', '.join(dict.fromkeys(row['commit'] for row in rows))} (each row's own is in the file)",
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    weight, output, paired = (_told(row, key, ".3f") for key in ("weight_error", "output_error", "time_ratio"))
    return (
        f"| {row['network']} | {'yes' if row['aware'] else ''} | {row['split']} | {row['repair']} "
        f"| {row['replaced']:.3f} | {row['whole']:.3f} | {row['cosine']:.4f} | {row['spearman']:.4f} "
        f"| {weight} | {output} | {row['ms_per_sentence']:.1f} | {paired} | {row['bytes'] / 1e6:.1f} |"
    )


def _told(row: dict[str, Any], key: str, form: str) -> str:
    """A number that not every row has."""
    return format(row[key], form) if key in row else ""


def draw(rows: list[dict[str, Any]]) -> None:
    """Rank correlation against what is left of the linear layers: samples, splits and repair, one panel each."""
    figure = Figure(figsize=(13, 4.8), dpi=110, layout="constrained")
    samples, splits, repairs = figure.subplots(1, 3, sharey=True)
    for network, colour in COLOURS.items():
        for aware, style in ((False, ":"), (True, "-")):
            told = f"{network}, {'sample' if aware else 'weights only'}"
            _curve(samples, rows, (network, aware, "uniform", ""), colour, style, told)
        for split, style in SPLITS.items():
            _curve(splits, rows, (network, True, split, ""), colour, style, f"{network}, {split} split")
        stages = {row["repair"] for row in rows if (row["network"], row.get("split")) == (network, "own")}
        for repair, style in (("", ":"), ("least squares", "--"), ("distilled", "-")) if len(stages) > 1 else ():
            _curve(repairs, rows, (network, True, "own", repair), colour, style, f"{network}, {repair or 'no repair'}")
    samples.set_title("Every layer at the same share")
    splits.set_title("With a sample, by split")
    repairs.set_title("With a sample, own split, repaired")
    samples.set_ylabel("Spearman of similarities, held-out sentences")
    for axes in (samples, splits, repairs):
        axes.set_xlabel("parameters left in the linear layers")
        axes.set(xlim=(0.25, 0.8), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize=8, loc="lower right" if axes is not samples else "upper left", frameon=False, handlelength=3.5
        )
    figure.savefig(PICTURE)


def _curve(axes: Any, rows: list[dict[str, Any]], key: tuple[Any, ...], colour: str, style: str, told: str) -> None:
    found = [row for row in rows if tuple(row.get(name) for name in ("network", "aware", "split", "repair")) == key]
    if found:
        found.sort(key=lambda row: row["replaced"])
        x, y = [row["replaced"] for row in found], [row["spearman"] for row in found]
        axes.plot(x, y, style, color=colour, linewidth=1.8, marker="o", markersize=4, label=told)
