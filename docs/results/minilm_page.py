"""Tables and picture of docs/minilm.md from the stored rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

PAGE = Path(__file__).resolve().parent.parent / "minilm.md"
PICTURE = PAGE.parent / "images" / "minilm.png"
COLOURS = {"lowrank": "#0072B2", "mpo(cores=2)": "#D55E00", "mpo(cores=3)": "#009E73", "tucker": "#CC79A7"}
HEAD = (
    "| network | sample | split | repair | delivered | whole model | cosine | Spearman | weight error | output error "
    "| ms | of dense | MB |"
)


def write_page(stored: dict[str, Any]) -> None:
    """Put tables into the page between its marks, and draw the picture anew."""
    before, mark, rest = PAGE.read_text(encoding="utf-8").partition("<!-- tables -->\n")
    after = rest.partition("<!-- end -->\n")[2]
    PAGE.write_text(f"{before}{mark}{tables(stored)}<!-- end -->\n{after}", encoding="utf-8")
    draw(stored["rows"])


def tables(stored: dict[str, Any]) -> str:
    """One table for each budget, and how they were made."""
    lines: list[str] = []
    rows = stored["rows"]
    dense = next(row for row in rows if row["network"] == "dense")
    for asked in sorted({row["asked"] for row in rows if "asked" in row}, reverse=True):
        lines += [f"### {asked} of the linear layers' parameters", "", HEAD, "|---" * 13 + "|"]
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
    weight, output = (f"{row[key]:.3f}" if key in row else "" for key in ("weight_error", "output_error"))
    return (
        f"| {row['network']} | {'yes' if row['aware'] else ''} | {row['split']} | {row['repair']} "
        f"| {row['replaced']:.3f} | {row['whole']:.3f} | {row['cosine']:.4f} | {row['spearman']:.4f} "
        f"| {weight} | {output} | {row['ms_per_sentence']:.1f} | {row['time_ratio']:.2f} | {row['bytes'] / 1e6:.1f} |"
    )


def draw(rows: list[dict[str, Any]]) -> None:
    """Rank correlation against what is left of the linear layers: splits and samples left, repair right."""
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for aware, width in ((False, 1.0), (True, 2.2)):
        for network, colour in COLOURS.items():
            for split, style in (("uniform", ":"), ("own", "-")):
                told = f"{network}, {'sample' if aware else 'weights only'}, {split} split"
                _curve(left, rows, (network, aware, split, ""), colour, style, width, told)
    for network, colour in COLOURS.items():
        for repair, style in (("", ":"), ("least squares", "--"), ("distilled", "-")):
            told = f"{network}, sample, {repair or 'no repair'}"
            if any(row.get("repair") for row in rows if row["network"] == network):
                _curve(right, rows, (network, True, "own", repair), colour, style, 2.2, told)
    left.set_title("Without repair")
    right.set_title("With repair, own split")
    left.set_ylabel("Spearman of similarities, held-out sentences")
    for axes in (left, right):
        axes.set_xlabel("parameters left in the linear layers")
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6.5, loc="best", frameon=False, ncols=1 if axes is right else 2)
    figure.savefig(PICTURE)


def _curve(
    axes: Any, rows: list[dict[str, Any]], key: tuple[Any, ...], colour: str, style: str, width: float, told: str
) -> None:
    found = [row for row in rows if tuple(row.get(name) for name in ("network", "aware", "split", "repair")) == key]
    if found:
        found.sort(key=lambda row: row["replaced"])
        x, y = [row["replaced"] for row in found], [row["spearman"] for row in found]
        axes.plot(x, y, style, color=colour, linewidth=width, marker="o", markersize=2 + width, label=told)
