"""docs/random.md, written from random.json: `python docs/results/random_shapes.py`.

More cells are measured, on a machine that does nothing else and in the benchmark's environment, by

    .venv-bench/bin/tnlayers bench --random 60 --seed 7 --cap 1.5 --out docs/results/random.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marks import filled

from tnlayers.bench.drawn_report import drawn_section
from tnlayers.bench.measure import DENSE, OURS
from tnlayers.bench.run import load

HERE = Path(__file__).resolve().parent
STORE = HERE / "random.json"
PAGE = HERE.parent / "random.md"
ASKED = 60  # layers, each forward and in training


def runs(data: Mapping[str, Any]) -> str:
    """Where the numbers come from."""
    lines = [f"{len(data['cells'])} of {2 * ASKED} cells were measured.", ""]
    for run in data["runs"]:
        machine = run["machine"]
        lines.append(
            f"- `{run['command']}`, commit {run['commit'][:10]}, {run['begun'][:10]}, {machine['cpu']}, "
            f"{machine['cores']} cores, one thread; plans by {'measured' if run['calibrated'] else 'default'} rates"
        )
    return "\n".join(lines)


def measured(data: Mapping[str, Any]) -> str:
    """The figures, and a row for each cell."""
    return "\n".join(drawn_section({n: r for n, r in data["cells"].items() if {OURS, DENSE} <= r["contenders"].keys()}))


def written(text: str, data: Mapping[str, Any]) -> str:
    """The page as it should be."""
    return filled(filled(text, "runs", runs(data)), "measured", measured(data))


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), load(STORE)), encoding="utf-8")
