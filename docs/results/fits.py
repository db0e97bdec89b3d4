"""Fits of networks with loops, hyperedges or shared modes before and after a change: error and CPU seconds.

    PYTHONPATH=OLDER:OLDER/backends OMP_NUM_THREADS=1 python docs/results/fits.py --as before
    OMP_NUM_THREADS=1 python docs/results/fits.py --as after

Each run stores its rows in fits.json beside this file, and writes the table of all runs, fits.md. Seconds are those of
the process, so that other processes count little; sizes are equal in both, by `ratio=0.3`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

import tnlayers as tnl
from tnlayers.decompose.decomposition import decompose
from tnlayers.files.origin import commit, cpu_name

FILE = Path(__file__).with_suffix(".json")
RATIO = 0.3
SMALL = ("cp", "ring", "mera", "peps", "block_term", "kronecker(cores=3)", "btt", "btt(cores=3)")
CASES = [(network, 64, kind) for network in SMALL for kind in ("random", "decay", "smooth")]
CASES += [(network, 128, "decay") for network in ("cp", "ring", "mera", "kronecker(cores=3)")]


def weight(size: int, kind: str) -> np.ndarray:
    """A square weight: Gaussian; the same with singular values 1, 1/2, 1/3, ...; a smooth kernel with noise."""
    drawn = np.random.default_rng(0).standard_normal((size, size))
    if kind == "decay":
        u, _, vh = np.linalg.svd(drawn)
        return u / np.arange(1, size + 1) @ vh
    if kind == "smooth":
        places = np.arange(size)
        return np.exp(-np.abs(places[:, None] - places) / 16) + 0.05 * drawn
    return drawn


def row(network: str, size: int, kind: str) -> dict[str, object]:
    """What one fit takes and leaves, once its contractions are planned."""
    dense = weight(size, kind)
    decompose(dense, network, ratio=RATIO, sweeps=1)
    start = time.process_time()
    found = decompose(dense, network, ratio=RATIO)
    seconds = time.process_time() - start
    return {"spec": str(found.spec), "kind": kind, "error": found.error, "seconds": seconds}


def table(runs: dict[str, dict]) -> str:
    """The table of both runs."""
    lines = [
        "# Fits before and after",
        "",
        "`python docs/results/fits.py` wrote this: errors and CPU seconds of single fits, one thread, float64, numpy.",
        "",
        "| run | commit | processor |",
        "| --- | --- | --- |",
        *(f"| {name} | {run['commit']} | {run['cpu']} |" for name, run in runs.items()),
        "",
    ]
    if not {"before", "after"} <= runs.keys():
        return "\n".join(lines)
    lines += ["| network | weight | error before | after | seconds before | after | faster |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    before = {(one["spec"], one["kind"]): one for one in runs["before"]["rows"]}
    gains = []
    for new in runs["after"]["rows"]:
        old = before.get((new["spec"], new["kind"]))
        if old is None:
            continue
        gains.append(old["seconds"] / new["seconds"])
        lines.append(
            f"| `{new['spec']}` | {new['kind']} | {old['error']:.4f} | {new['error']:.4f} | {old['seconds']:.2f} | "
            f"{new['seconds']:.2f} | {gains[-1]:.1f}x |"
        )
    mean = float(np.exp(np.mean(np.log(gains))))
    worse = sum(
        new["error"] > before[new["spec"], new["kind"]]["error"] * 1.0005
        for new in runs["after"]["rows"]
        if (new["spec"], new["kind"]) in before
    )
    lines += [
        "",
        f"Geometric mean {mean:.1f}x; the error rose by more than 0.05 % of itself in {worse} of {len(gains)}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, store, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as", dest="name", choices=("before", "after"), required=True)
    name = parser.parse_args().name
    warnings.simplefilter("ignore", tnl.TNLayersWarning)
    runs = json.loads(FILE.read_text()) if FILE.exists() else {}
    rows = [row(*case) for case in CASES]
    runs[name] = {"commit": commit(), "cpu": cpu_name(), "rows": rows}
    FILE.write_text(json.dumps(dict(sorted(runs.items(), reverse=True)), indent=1) + "\n")
    FILE.with_suffix(".md").write_text(table(json.loads(FILE.read_text())))


if __name__ == "__main__":
    main()
