"""Tables, sentences and picture of docs/heal.md from the stored rows of heal.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marks import filled
from matplotlib.figure import Figure

PAGE = Path(__file__).resolve().parent.parent / "heal.md"
PICTURE = PAGE.parent / "img" / "heal.png"
BASE = "lowrank"
HEALED = ("least squares", "distilled", "continued")
WAYS = {
    "weights": "weights alone",
    "sample": "a sample",
    "least squares": "least squares layer by layer",
    "distilled": "distilled",
    "continued": "trained on",
}
GAUGES = {
    "": "",
    "ordered": ", hidden features ordered",
    "heads": ", heads turned",
    "turned": ", stream and heads turned",
}
COLOURS = {
    "lowrank": "#0072B2",
    "mpo": "#D55E00",
    "tucker": "#CC79A7",
    "btt": "#999999",
    "blast": "#009E73",
    "blast, 8 blocks": "#00C292",
    "lowrank + mpo": "#E69F00",
    "best of each layer": "#000000",
}
HEAD = (
    "| network | from | share of bits | nats per character | right, % | mean output error | in 8 bits: share | nats |"
)
Row = dict[str, Any]
_CLAIMED, _NEAR = 0.15, 0.02  # bits saved beyond which recovery is said to fail; nats that count as recovered


def write_page(stored: dict[str, Any]) -> None:
    """Fill the page between its marks, and draw the picture anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), stored), encoding="utf-8")
    draw(stored["rows"])


def written(text: str, stored: dict[str, Any]) -> str:
    """The page as it should be."""
    for name, part in PARTS.items():
        text = filled(text, name, part(stored))
    return text


def chosen(rows: list[Row], **wanted: Any) -> list[Row]:
    """The rows that have these values; rows without a gauge are of the model as it was trained."""
    return [row for row in rows if all(row.get(key, "") == value for key, value in wanted.items())]


def one(rows: list[Row], **wanted: Any) -> Row:
    """The only row that has these values."""
    (found,) = chosen(rows, **wanted)
    return found


def share(row: Row, rows: list[Row]) -> float:
    """Bits over those of the dense model in 32-bit numbers."""
    return float(row["bits"] / one(rows, network="dense", way="weights", codes=32)["bits"])


def name_of(row: Row) -> str:
    """What a row is of, in words."""
    return f"{row['network']}{GAUGES[row.get('gauge', '')]}"


def budgets(rows: list[Row]) -> list[float]:
    """Those of compressed models, the largest first."""
    return sorted({row["budget"] for row in rows if row["network"] != "dense"}, reverse=True)


def reading(stored: Row) -> str:
    """Who is ahead at each budget, with a sample and nothing else."""
    rows = stored["rows"]
    dense = one(rows, network="dense", way="weights", codes=32)
    lines = [f"The dense model has {dense['nats']:.4f} nats per character ({100 * dense['accuracy']:.1f} % right)."]
    ahead: list[tuple[float, float]] = []
    for budget in budgets(rows):
        own = [row for row in chosen(rows, budget=budget, way="sample", codes=32)]
        base = [row for row in own if row["network"] == BASE and not row.get("gauge")]
        others = [row for row in own if row["network"] != BASE and row["bits"] <= base[0]["bits"]] if base else []
        if not others:
            continue
        best = min(others, key=lambda row: row["nats"])
        gap = best["nats"] - base[0]["nats"]
        ahead.append((budget, gap))
        verdict = f"{abs(gap):.4f} nats {'below' if gap < 0 else 'above'} it"
        lines.append(
            f"- **At {budget:g} of the bits** whitened low rank has {base[0]['nats']:.4f}; the best with a tensor "
            f"network in it, `{name_of(best)}`, has {best['nats']:.4f}, {verdict}, with {_more(best, base[0])}."
        )
        worse = ", ".join(
            f"`{name_of(row)}` {row['nats'] - base[0]['nats']:+.4f}"
            for row in sorted(others, key=lambda row: row["nats"])
            if row is not best
        )
        if worse:
            lines.append(f"  The others, against low rank: {worse}.")
    won = [budget for budget, gap in ahead if gap < 0]
    lost = [f"at {budget:g} it is ahead by {gap:.4f}" for budget, gap in ahead if gap >= 0]
    lines += [
        "",
        f"So whitened low rank is passed at {len(won)} of {len(ahead)} budgets ({', '.join(f'{one:g}' for one in won)})"
        f"{'; ' if lost else ''}{', '.join(lost)}.",
    ]
    return "\n".join(lines)


def _more(row: Row, base: Row) -> str:
    fewer = 100 * (1 - row["bits"] / base["bits"])
    return f"{fewer:.1f} % fewer bits" if fewer >= 0.05 else "as many bits"


def coordinates(stored: Row) -> str:
    """What other coordinates change, for each network that was measured in them."""
    rows = stored["rows"]
    lines = []
    for row in chosen(rows, way="sample", codes=32):
        plain = chosen(rows, network=row["network"], gauge="", budget=row["budget"], way="sample", codes=32)
        if row.get("gauge") and plain:
            gap = row["nats"] - plain[0]["nats"]
            lines.append((row["network"], -row["budget"], f"- `{name_of(row)}` at {row['budget']:g}: {gap:+.4f} nats."))
    return "\n".join(line for _, _, line in sorted(lines))


def healing(stored: Row) -> str:
    """What repair and training on recover."""
    rows = stored["rows"]
    dense = one(rows, network="dense", way="weights", codes=32)["nats"]
    on = one(rows, network="dense", way="continued", codes=32)["nats"]
    lines = [
        f"Trained on for as many steps, the dense model itself goes from {dense:.4f} to {on:.4f}.",
    ]
    for budget in budgets(rows):
        healed = [row for way in HEALED for row in chosen(rows, budget=budget, way=way, codes=32)]
        for network in dict.fromkeys(row["network"] for row in healed):
            plain = chosen(rows, network=network, gauge="", budget=budget, way="sample", codes=32)
            after = {row["way"]: row["nats"] for row in healed if row["network"] == network}
            if plain:
                told = ", ".join(f"{WAYS[way]} {nats:.4f}" for way, nats in after.items())
                lost, left = plain[0]["nats"] - dense, min(after.values()) - dense
                lines.append(
                    f"- `{network}` at {budget:g}: {plain[0]['nats']:.4f} with a sample; {told}. "
                    f"{100 * (1 - left / lost):.0f} % of what was lost is back, {left:.4f} nats above dense."
                    if lost > 0
                    else f"- `{network}` at {budget:g}: {plain[0]['nats']:.4f} with a sample, nothing was lost; {told}."
                )
        best = min(healed, key=lambda row: row["nats"], default=None)
        base = [row for row in healed if row["network"] == BASE]
        if best and base and best["network"] != BASE:
            lowest = min(row["nats"] for row in base)
            lines.append(
                f"  After healing `{best['network']}` is {lowest - best['nats']:.4f} nats below the best of low rank "
                f"at {budget:g}, {lowest:.4f}."
            )
    return "\n".join(lines)


def claim(stored: Row) -> str:
    """TT-LLM's claim, that recovery fails beyond 15 % of bits saved, beside these figures."""
    rows = stored["rows"]
    dense = one(rows, network="dense", way="weights", codes=32)["nats"]
    lines, near = [], 0.0
    for budget in budgets(rows):
        own = [row for row in chosen(rows, budget=budget, codes=32) if row["way"] != "weights"]
        if own:
            best = min(own, key=lambda row: row["nats"])
            lines.append(
                f"- {100 * (1 - share(best, rows)):.0f} % of the bits saved: {best['nats'] - dense:+.4f} nats against "
                f"dense at best (`{name_of(best)}`, {WAYS[best['way']]})."
            )
            near = 1 - share(best, rows) if best["nats"] - dense <= _NEAR else near
    lines += [
        "",
        f"On this model the claim is {'borne out' if near <= _CLAIMED else 'not borne out'}: with {100 * near:.0f} % "
        f"of the bits saved the loss is within {_NEAR:g} nats of dense.",
    ]
    return "\n".join(lines)


def rounding(stored: Row) -> str:
    """What 8 and 4 bits cost, alone and on top."""
    rows = stored["rows"]
    dense = one(rows, network="dense", way="weights", codes=32)["nats"]
    lines = [
        f"- dense in {codes} bits: {share(row, rows):.3f} of the bits, {row['nats'] - dense:+.4f} nats."
        for codes in (8, 4)
        for row in chosen(rows, network="dense", way="weights", codes=codes)
    ]
    pairs = [
        (row, other)
        for row in chosen(rows, codes=32)
        if row["network"] != "dense"
        for other in chosen(rows, codes=8, **{key: row.get(key, "") for key in ("network", "gauge", "budget", "way")})
    ]
    worst = max(pairs, key=lambda pair: pair[1]["nats"] - pair[0]["nats"])
    lines.append(
        f"- compressed models, {len(pairs)} of them, change by {worst[1]['nats'] - worst[0]['nats']:+.4f} nats at most "
        f"when their cores and dense weights are rounded to 8 bits (`{name_of(worst[1])}` at {worst[1]['budget']:g})."
    )
    four = chosen(rows, network="dense", way="weights", codes=4)[0]
    under = [row for row in rows if row["bits"] <= four["bits"]]
    best = min((row for row in under if row is not four), key=lambda row: row["nats"])
    lines.append(
        f"- at no more bits than dense in 4 bits, `{name_of(best)}` at {best['budget']:g} of the "
        f"parameters ({WAYS[best['way']]}) in {best['codes']} bits has {best['nats']:.4f} nats, "
        f"dense in 4 bits {four['nats']:.4f}."
    )
    return "\n".join(lines)


def minilm(stored: Row) -> str:
    """Blast beside low rank on a pretrained sentence encoder."""
    rows: list[Row] = stored.get("minilm", [])
    lines = [
        "| share of each linear layer | network | delivered | Spearman | cosine | mean output error |",
        "|---" * 6 + "|",
        *(
            f"| {row['share']:g} | `{row['network']}` | {row['delivered']:.4f} | {row['spearman']:.4f} | "
            f"{row['cosine']:.4f} | {row['output_error']:.4f} |"
            for row in sorted(rows, key=lambda row: (-row["share"], -row["spearman"]))
        ),
        "",
    ]
    for share_of in sorted({row["share"] for row in rows}, reverse=True):
        own = {row["network"]: row for row in rows if row["share"] == share_of}
        others = [row for row in own.values() if row["network"] != BASE]
        if BASE in own and others:
            best = max(others, key=lambda row: row["spearman"])
            gap = best["spearman"] - own[BASE]["spearman"]
            lines.append(
                f"- At {share_of:g}, `{best['network']}` is {abs(gap):.4f} {'above' if gap > 0 else 'below'} whitened "
                f"low rank in rank correlation, and its mean output error is {best['output_error']:.4f} to "
                f"{own[BASE]['output_error']:.4f}."
            )
    return "\n".join(lines)


def tables(stored: Row) -> str:
    """One table per budget, and how it was measured."""
    rows = stored["rows"]
    lines: list[str] = []
    for budget in budgets(rows):
        lines += [
            f"### {budget:g} of the bits",
            "",
            HEAD,
            "|---" * 8 + "|",
        ]
        own = chosen(rows, budget=budget, codes=32)
        for row in sorted(own, key=lambda row: row["nats"]):
            small = chosen(rows, codes=8, **{key: row.get(key, "") for key in ("network", "gauge", "budget", "way")})
            error = f"{row['output_error']:.4f}" if "output_error" in row else ""
            rounded = f"{share(small[0], rows):.4f} | {small[0]['nats']:.4f}" if small else " | "
            lines.append(
                f"| `{name_of(row)}` | {WAYS[row['way']]} | {share(row, rows):.4f} | {row['nats']:.4f} | "
                f"{100 * row['accuracy']:.2f} | {error} | {rounded} |"
            )
        lines.append("")
    run, commits = stored["run"], dict.fromkeys(str(row["commit"])[:10] for row in rows)
    seeds = sorted({row["seed"] for row in rows})
    lines += [
        f"- training: `{run['command']}`, seed 0, commit {run['commit'][:10]}",
        f"- command: `{stored['command']}`; seed {', '.join(map(str, seeds))}, one model",
        f"- machine: {stored['machine']}, {stored['threads']} thread, torch {stored['torch']}",
        f"- commits: {', '.join(commits)} (each row's own is in the file)",
    ]
    return "\n".join(lines)


def draw(rows: list[Row]) -> None:
    """Loss against bits, on logarithmic bits: plain with a sample, and healed."""
    figure = Figure(figsize=(10.5, 4.4), dpi=90, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    dense = one(rows, network="dense", way="weights", codes=32)
    for axes, title, ways in zip(
        panels, ("With a sample", "Healed: distilled or trained on"), (("sample",), HEALED), strict=True
    ):
        for network, colour in COLOURS.items():
            for codes, style in ((32, "-"), (8, ":")):
                best: dict[float, Row] = {}
                for row in chosen(rows, network=network, gauge="", codes=codes):
                    if row["way"] in ways and row["nats"] < best.get(row["budget"], {"nats": 9.0})["nats"]:
                        best[row["budget"]] = row
                found = sorted(best.values(), key=lambda row: row["bits"])
                if found:
                    label = network if codes == 32 else None
                    x, y = [share(row, rows) for row in found], [row["nats"] for row in found]
                    axes.plot(x, y, style, color=colour, marker="o", markersize=4, linewidth=1.5, label=label)
        for row in chosen(rows, network="dense", way="weights"):
            axes.plot(share(row, rows), row["nats"], "k*", markersize=9)
            axes.annotate(
                f"dense, {row['codes']} bits",
                (share(row, rows), row["nats"]),
                (0, -13),
                textcoords="offset points",
                fontsize=7,
                ha="center",
            )
        axes.axhline(dense["nats"], color="k", linewidth=0.6)
        axes.set(xscale="log", xlabel="share of the bits of the dense model", title=title, ylim=(1.65, 2.45))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("nats per character, held-out tenth")
    panels[0].legend(fontsize=8, frameon=False, title="dotted: in 8 bits", title_fontsize=8)
    figure.savefig(PICTURE)


PARTS = {
    "reading": reading,
    "coordinates": coordinates,
    "healing": healing,
    "claim": claim,
    "rounding": rounding,
    "minilm": minilm,
    "tables": tables,
}
