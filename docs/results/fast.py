"""The tables of docs/fast.md, written from fast.json: `python docs/results/fast.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marks import filled

from tnlayers.reproduce.store import spread

HERE = Path(__file__).resolve().parent
STORE = HERE / "fast.json"
PAGE = HERE.parent / "fast.md"
NETWORKS = ("dense", "mpo")


def settings(data: dict[str, Any]) -> str:
    """One row per setting: accuracy on the images held out, and on the test images, which chose nothing."""
    lines = ["| setting | held out: dense | MPO | mean | test: dense | MPO |", "| --- | --- | --- | --- | --- | --- |"]
    for row in data["settings"]:
        held, test = ([100 * row[network][kind] for network in NETWORKS] for kind in ("validation", "test"))
        cells = " | ".join(f"{value:.2f}" for value in (*held, sum(held) / len(held), *test))
        lines.append(f"| {row['setting']} | {cells} |")
    return "\n".join(lines)


def flips(data: dict[str, Any]) -> str:
    """One row per network: the test accuracy of its runs without and with the mirror image."""
    lines = ["| network | seeds | plain, % | with flip, % |", "| --- | --- | --- | --- |"]
    for network in NETWORKS:
        runs = [run for run in data["flip"] if run["network"] == network]
        plain, flip = (spread([100 * run[kind] for run in runs]) for kind in ("plain", "flip"))
        lines.append(f"| `{network}` | {', '.join(str(run['seed']) for run in runs)} | {plain} | {flip} |")
    return "\n".join(lines)


def written(text: str, data: dict[str, Any]) -> str:
    """The page with its tables as they should be."""
    return filled(filled(text, "settings", settings(data)), "flips", flips(data))


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), json.loads(STORE.read_text())), encoding="utf-8")
