"""Writing: the page and its pictures, and the counts that they need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tnlayers.files.atomic import write_text
from tnlayers.reproduce.figures import draw
from tnlayers.reproduce.page import page
from tnlayers.reproduce.paper import OTHERS, ROWS, Row
from tnlayers.reproduce.steps import time_step
from tnlayers.reproduce.store import Store
from tnlayers.reproduce.structure import measure


def complete(store: Store, *, keep: bool) -> dict[str, Any]:
    """The structure of every model of the paper: what is stored, and what is counted now.

    Args:
        store: Where counts are looked up.
        keep: Whether new counts are written into it.
    """
    structure = store.structure()
    wanted = [(row.model, network) for row in (*ROWS, *OTHERS) for network in dict.fromkeys(("dense", row.network))]
    new = measure(pair for pair in dict.fromkeys(wanted) if pair[1] not in structure.get(pair[0], {}))
    merged = {model: structure.get(model, {}) | new.get(model, {}) for model, _ in wanted}
    if keep and new:
        store.add(structure=merged)
    return merged


def measure_steps(store: Store, wanted: Iterable[Row]) -> None:
    """Measure the time of a step of every row that has none yet, and store each as it comes.

    Args:
        store: Where times are looked up and go.
        wanted: The rows.
    """
    for row in wanted:
        known = store.steps().get(row.model, {})
        if row.network not in known:
            store.add(steps={row.model: known | {row.network: time_step(row.model, row.network)}})


def write(store: Store, docs: Path) -> None:
    """Write paper.md and its pictures from the store.

    Args:
        store: Whole: `complete` was called.
        docs: The folder of the page; pictures go to its img/.
    """
    runs, structure, steps = store.runs(), store.structure(), store.steps()
    docs.mkdir(parents=True, exist_ok=True)
    write_text(docs / "paper.md", page(runs, structure, steps))
    draw(docs / "img", runs, structure)
