"""Plans by XLA's rates beside what else XLA can do: `taskset -c 0 python docs/results/xla.py` (ten minutes, quiet).

A training step (output, gradients of the input and of every core) under `jax.jit` on the named cells, all ways in turns
in one process: the layer by the plan for the processor's rates and by the plan for XLA's rates, which are measured
first; XLA's own einsum of the declaration along opt_einsum's optimal path; the weight rebuilt, then one product; and
the dense layer. The bar: the layer by XLA's rates takes at most 1.25 times the best of the other three ways with cores.

    --seconds S   how long each cell is timed, at least
    --cells N     only the first N cells
    --out FILE    where the figures go (docs/results/xla.json)
    --show        print the table of stored figures, and measure nothing; the table is written to docs/backends.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import opt_einsum
from chunks import normal, paired, step  # which sets the flags of XLA before jax is loaded
from marks import filled
from tnlayers_backends.jax import planned
from tnlayers_backends.jax.multiply import xla_name
from xla_table import BAR, OTHERS, table

import tnlayers as tnl
from tnlayers.bench.calibration import calibrate
from tnlayers.bench.cells import NAMED
from tnlayers.declare.graph import forward
from tnlayers.declare.spec import Spec
from tnlayers.files.origin import commit, cpu_name, version

FILE = Path(__file__).resolve().parent / "xla.json"
PAGE = FILE.parents[1] / "backends.md"
Way = Callable[[jax.Array, list[jax.Array]], jax.Array]


def ways(spec: Spec, batch: int) -> dict[str, Way]:
    """Name -> y from x and the cores."""
    layer = tnl.build(spec, backend="jax")
    (graph,) = spec.graphs
    plans = {name: tnl.plan(spec, batch, objective="training", device=device) for name, device in devices().items()}
    found: dict[str, Way] = {name: partial(planned.run, plan) for name, plan in plans.items()}
    contraction = forward(graph, batch)
    equation = contraction.equation(*contraction.operands, contraction.output)
    shapes = [tuple(contraction.sizes[i] for i in operand) for operand in contraction.operands]
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="optimal")

    def einsum(x: jax.Array, cores: list[jax.Array]) -> jax.Array:
        return jax.numpy.einsum(equation, x.reshape(-1, *graph.in_modes), *cores, optimize=path).reshape(batch, -1)

    def rebuild(x: jax.Array, cores: list[jax.Array]) -> jax.Array:
        return x @ replace(layer, params=dict(zip(layer.params, cores, strict=True))).to_dense().T

    return found | {"einsum": einsum, "rebuild": rebuild}


def devices() -> dict[str, str]:
    """Name of a plan -> whose rates rank it."""
    return {"processor": "cpu", "xla": xla_name()}


def cell(inputs: int, outputs: int, cores: int, bond: int, batch: int, seconds: float) -> dict[str, Any]:
    """The figures of one cell."""
    spec = tnl.spec(f"mpo(cores={cores}, bond={bond})", inputs, outputs)
    layer = tnl.build(spec, backend="jax", seed=0)
    x, grad_y = (jax.numpy.asarray(normal(batch, n)) for n in (inputs, outputs))
    arrays = list(layer.cores.values())
    calls = {name: step(way, x, grad_y, arrays)[1] for name, way in ways(spec, batch).items()}
    check(calls)
    calls["dense"] = step(lambda x, w: x @ w[0].T, x, grad_y, [layer.to_dense()])[1]
    times = paired(calls, seconds)
    best = min(OTHERS, key=lambda name: statistics.median(times[name]))
    pairs = sorted(a / b for a, b in zip(times["xla"], times[best], strict=True))
    n = len(pairs)
    return {
        "in_features": inputs,
        "out_features": outputs,
        "network": str(spec),
        "batch": batch,
        "rounds": n,
        "median_seconds": {name: statistics.median(own) for name, own in times.items()},
        "best_other": best,
        "ratio_to_best_other": [pairs[n // 4], statistics.median(pairs), pairs[3 * n // 4]],
        "flops": {name: tnl.plan(spec, batch, objective="training", device=d).flops for name, d in devices().items()},
    }


def check(calls: dict[str, Callable[[], Any]]) -> None:
    """Every way gives the same output and the same gradients, as far as single precision goes."""
    first = jax.tree.leaves(calls["einsum"]())
    for name, call in calls.items():
        for one, other in zip(jax.tree.leaves(call()), first, strict=True):
            scale = float(abs(other).max())
            assert float(abs(one - other).max()) < 1e-3 * scale, f"{name} differs from the einsum of the declaration"


def measure(file: Path, count: int, seconds: float) -> None:
    """Measure XLA's rates, then the cells; what is measured is stored after each."""
    origin = {"commit": commit(), "processor": cpu_name(), "jax": version("jax")}
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:  # rates of this run, and no plans of others
        os.environ["TNLAYERS_CACHE"] = folder
        rates = calibrate(backend="jax")
        for one in NAMED[:count]:
            cells.append(cell(*one, seconds))
            results = {"bar": BAR, "rates": asdict(rates), "cells": cells, **origin, "load": os.getloadavg()[1]}
            text = json.dumps(results | {"processors": affinity}, indent=2)
            file.write_text(text + "\n", encoding="utf-8")
            print(f"{len(cells)} of {count} cells", flush=True)


def main() -> None:
    """Measure and store, or show what is stored."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cells", type=int, default=len(NAMED))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    if not asked.show:
        measure(asked.out, asked.cells, asked.seconds)
    text = table(json.loads(asked.out.read_text(encoding="utf-8")))
    print(text)
    if asked.out == FILE:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), "xla", text), encoding="utf-8")


if __name__ == "__main__":
    main()
