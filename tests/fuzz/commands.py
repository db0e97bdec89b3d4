"""Commands in processes of their own, and what they leave behind: their words, their processes, their files."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 8
TRAIN = ("train", "fc2", "--network", "mpo", "--data", "digits", "--epochs", str(EPOCHS), "--momentum", "0.9")
TRAIN += ("--accelerator", "cpu", "--threads", "1", "--checkpoint-seconds", "0", "--resume", "--name", "run")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TNLAYERS_KEEP_PLANS": "1",
}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `python -m ...` in a folder, with a cache of its own there, and everything it says in the file `said`."""
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=ENVIRONMENT | {"TNLAYERS_CACHE": str(folder / "cache")},
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def said(folder: Path) -> str:
    """What processes of a folder have said so far."""
    return (folder / "said").read_text(errors="replace")


def finish(folder: Path, *words: str) -> str:
    """Run to the end; an empty text, or what went wrong."""
    (folder / "said").unlink(missing_ok=True)
    status = start(folder, *words).wait()
    return f"status {status}: {said(folder)[-500:]}" if status else ""


def members(folder: Path) -> dict[int, int]:
    """Processes at work in a folder: their local rank by id; -1 for those that have none, such as launchers."""
    found = {}
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cwd").readlink() == folder:
                rank = re.search(rb"\0LOCAL_RANK=(\d+)", b"\0" + (place / "environ").read_bytes())
                found[int(place.name)] = int(rank[1]) if rank else -1
        except OSError:
            continue
    return found


def result(run: Path) -> object:
    """What a run folder holds, but for times: every number of every epoch, and every byte of the weights."""
    from safetensors.numpy import load_file

    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]
    weights = {path.name: load_file(path) for path in sorted((run / "models").iterdir())}
    return rows, {name: {key: array.tobytes() for key, array in one.items()} for name, one in weights.items()}


def rows(run: Path) -> int:
    """How many epochs a run has written down."""
    metrics = run / "metrics.csv"
    return metrics.read_text().count("\n") - 1 if metrics.exists() else -1


def half_written(folder: Path) -> list[str]:
    """Files that are no JSON and no YAML though their names say so, and files on their way to their places."""
    found = [path.name for path in folder.rglob("*.partial*")]
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_text())
        except ValueError:
            found.append(path.name)
    return found


def made(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True)
    return folder


def reference(folder: Path, name: str, *words: str) -> object:
    """The result of an undisturbed run, made once."""
    here = folder / name
    if not here.exists():
        wrong = finish(made(here), *words, "--out", str(here))
        assert not wrong, wrong
    return result(here / "run")
