"""Execute the notebooks, each from a clean kernel: `python notebooks/run.py [NUMBER...]`, all of them without a number.

An error in a cell, or outputs too large to be committed, end it with status 1. `--write` keeps the outputs in the
notebooks and the seconds in docs/notebooks.md; without it nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "notebooks.md"
LARGEST = 600_000  # bytes of a notebook with its outputs
LONGEST = 120  # seconds of a cell


def execute(path: Path) -> nbformat.NotebookNode:
    """Run all cells in a new kernel, in this folder.

    Raises:
        CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(notebook, timeout=LONGEST, resources=place, record_timing=False)
    client.extra_arguments = ["--log-level=ERROR"]  # the kernel would warn that it listens on a local port
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # without the kernel's version
    _without_kernel(notebook)
    return notebook


def _without_kernel(notebook: nbformat.NotebookNode) -> None:
    """Replace widgets by their static pages: where the notebook is only read, no kernel draws them."""
    notebook.metadata.pop("widgets", None)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "text/html" in output.get("data", {}):
            output.data.pop("application/vnd.jupyter.widget-view+json", None)


def keep_times(seconds: dict[str, float]) -> None:
    """Write what was measured into the table of docs/notebooks.md; a notebook that did not run keeps its row."""
    text = PAGE.read_text(encoding="utf-8")
    software = f"Python {platform.python_version()}, torch {version('torch')}"
    machine = f"{date.today()}, {software}, {os.cpu_count()} CPU cores"
    for name, taken in seconds.items():
        row = re.compile(rf"^(\| [^|]*\({re.escape(f'../notebooks/{name}')}\) \|[^|]*\|).*$", re.MULTILINE)
        text, found = row.subn(rf"\1 {taken:.0f} | {machine} |", text)
        if not found:
            raise SystemExit(f"{PAGE} has no row for {name}.")
    PAGE.write_text(text, encoding="utf-8")


def main() -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", help="such as 1 3; all without")
    parser.add_argument("--write", action="store_true", help="keep outputs and seconds")
    wanted = parser.parse_args()
    paths = [p for p in sorted(HERE.glob("*.ipynb")) if not wanted.numbers or p.name[0] in wanted.numbers]
    # Small layers on a machine with other work: threads that wait for each other can take twenty times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seconds: dict[str, float] = {}
    for path in paths:
        begin = time.perf_counter()
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            print(f"{path.name}: FAILED\n{error}", file=sys.stderr)
            return 1
        seconds[path.name] = time.perf_counter() - begin
        size = len(json.dumps(notebook))
        print(f"{path.name}: {seconds[path.name]:.1f} s, {size / 1000:.0f} kB", flush=True)
        if size > LARGEST:
            print(f"{path.name} has more than {LARGEST:,} bytes with its outputs: draw less.", file=sys.stderr)
            return 1
        if wanted.write:
            nbformat.write(notebook, path)
    if wanted.write:
        keep_times(seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
