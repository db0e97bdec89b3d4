"""The notebooks as committed: executed from top to bottom, without an error, small, and in the log of run times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from places import DOCS, ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def faults(notebook: dict[str, Any]) -> list[str]:
    """What is wrong with a notebook, in words."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    found = []
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("not executed from top to bottom")
    if "error" in kinds:
        found.append("an error")
    data = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    if not any("image" in kind or "<svg" in "".join(each[kind]) for each in data for kind in each):
        found.append("no picture")
    if "/home/" in json.dumps(notebook) or str(ROOT) in json.dumps(notebook):
        found.append("a path of a machine")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs(path: Path) -> None:
    assert faults(json.loads(path.read_text(encoding="utf-8"))) == []
    assert path.stat().st_size < 600_000
    assert f"../notebooks/{path.name}" in (DOCS / "notebooks.md").read_text(encoding="utf-8")


def test_faults_are_seen() -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code[0]["execution_count"] = 7
    for cell in code[1:]:
        cell["outputs"] = []
    code[1]["outputs"] = [{"output_type": "error"}]
    assert faults(notebook) == ["not executed from top to bottom", "an error", "no picture"]
