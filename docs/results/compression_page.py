"""The tables of docs/compression-mnist.md from the stored rows: mean and standard deviation over the seeds."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "compression-mnist.md"
STORES = {name: HERE / f"compression-{name}.json" for name in ("fc2", "lenet5")}
STAGES = ("none", "sample", "repaired", "scratch")
HEAD = "| asked | network | parameters | test, weights only | test, sample | test, repaired | test, from scratch |"


def write_page() -> None:
    """Put a table for each model between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    for name, path in STORES.items():
        if path.exists():
            before, mark, rest = text.partition(f"<!-- {name} -->\n")
            after = rest.partition("<!-- end -->\n")[2]
            text = f"{before}{mark}{table(json.loads(path.read_text()))}<!-- end -->\n{after}"
    PAGE.write_text(text, encoding="utf-8")


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
    lines += [
        "",
        f"- command: `{stored['command']}`",
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
