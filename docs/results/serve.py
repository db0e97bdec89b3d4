"""Measure what a served model takes on disk: `python docs/results/serve.py`; it fills the table of docs/serve.md.

Files of models, dense and as the paper's MPOs, and the installed files of what runs them. Times are not measured.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import files, version
from pathlib import Path

from marks import filled

import tnlayers as tnl

ROOT = Path(__file__).resolve().parents[2]
PAGE, STORE = ROOT / "docs" / "serve.md", Path(__file__).with_suffix(".json")
MODELS = ("fc2", "lenet5", "vgg16")
RUNNERS = ("numpy", "onnxruntime", "torch")


def measured() -> dict[str, dict[str, int | str]]:
    """Bytes of each model's file by network, and of each runner's installed files with its version."""
    found: dict[str, dict[str, int | str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            for network in ("dense", "mpo"):
                file = Path(folder) / f"{name}-{network}"
                tnl.save(tnl.models.build(name, network=network, seed=0), file)
                found.setdefault(name, {})[network] = file.stat().st_size
    for name in RUNNERS:
        places = [Path(str(file.locate())) for file in files(name) or []]
        size = sum(place.stat().st_size for place in places if place.is_file())
        found[name] = {"version": version(name), "bytes": size}
    return found


def table(found: dict[str, dict[str, int | str]]) -> str:
    """The tables as Markdown."""
    lines = ["| model | file, dense | file, MPO |", "| --- | --- | --- |"]
    lines += [f"| {name} | {_amount(found[name]['dense'])} | {_amount(found[name]['mpo'])} |" for name in MODELS]
    lines += ["", "| what runs it | installed |", "| --- | --- |"]
    lines += [f"| {name} {found[name]['version']} | {_amount(found[name]['bytes'])} |" for name in RUNNERS]
    return "\n".join(lines)


def _amount(size: int | str) -> str:
    return f"{int(size) / 1e6:,.2f} MB" if int(size) < 1e7 else f"{int(size) / 1e6:,.0f} MB"


if __name__ == "__main__":
    STORE.write_text(json.dumps(measured(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), "sizes", table(stored)), encoding="utf-8")
