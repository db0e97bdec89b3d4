"""Write the figures of docs/backends.md on chunks: `taskset -c 0 python docs/results/chunks.py` (minutes).

A training step (output, gradients of the input and of every core) under `jax.jit` on the processor, and the forward
pass on numpy: the dense layer, and the layer's plan as one whole batch and in chunks, paired in turns in one process.
Bound to one core, XLA's pools of threads have one thread; the flag below takes away the pool of its matrix products as
well. Times are processor times.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import jax
import numpy as np
from marks import filled
from tnlayers_backends import numpy as on_numpy
from tnlayers_backends.jax import planned as on_jax

import tnlayers as tnl
from tnlayers.files.origin import commit, cpu_name, version

PAGE = Path(__file__).resolve().parents[1] / "backends.md"
LAYERS = {
    "mpo 784 -> 256, bond 16": "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
    "mpo 1024 -> 1024, bond 16": "mpo(in=4x8x8x4, out=4x8x8x4, bond=16)",
    "mpo 4096 -> 4096, bond 16": "mpo(in=8x8x8x8, out=8x8x8x8, bond=16)",
    "tree 4096 -> 4096, bond 8": "tree(in=8x8x8x8, out=8x8x8x8, bond=8)",
}
CELLS = [(name, batch) for name in LAYERS for batch in (32, 128, 1024) if batch == 128 or name.startswith("mpo")]
ROUNDS = 15  # at least

Times = dict[str, list[float]]


def paired(calls: dict[str, Callable[[], Any]], seconds: float) -> Times:
    """Processor seconds of each call, round by round in turns."""
    times: Times = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or min(map(len, times.values())) < ROUNDS:
        for name, call in calls.items():
            start = time.process_time()
            jax.block_until_ready(call())
            times[name].append(time.process_time() - start)
    return times


def ratio(times: Times, name: str, other: str) -> str:
    """The median of the ratios of paired rounds, and the interval of 95 % of a median by order statistics."""
    if name not in times or other not in times:
        return ""
    found = sorted(a / b for a, b in zip(times[name], times[other], strict=True))
    n = len(found)
    away = round(0.98 * n**0.5)
    return f"{statistics.median(found):.2f} ({found[max(n // 2 - away, 0)]:.2f}-{found[min(n // 2 + away, n - 1)]:.2f})"


def row(*cells: object) -> str:
    """A line of a table."""
    line = f"| {' | '.join(map(str, cells))} |"
    print(line, flush=True)
    return line


def normal(*shape: int) -> Any:
    """Random numbers in single precision."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def step(run: Callable[..., jax.Array], x: jax.Array, grad_y: jax.Array, cores: list[jax.Array]) -> tuple[Any, Any]:
    """The compiled training step of `run(x, cores)`, and its call."""

    def both(x: jax.Array, grad_y: jax.Array, cores: list[jax.Array]) -> Any:
        y, pull = jax.vjp(lambda x, cores: run(x, cores).reshape(grad_y.shape), x, cores)
        return y, pull(grad_y)

    compiled = jax.jit(both).lower(x, grad_y, cores).compile()
    return compiled, partial(compiled, x, grad_y, cores)


def jax_row(name: str, batch: int, seconds: float) -> str:
    """Ratios of training steps, and the megabytes that each compiled step takes beside its operands and results."""
    spec = tnl.spec(LAYERS[name])
    plan, layer = tnl.plan(spec, batch, objective="training"), tnl.build(spec, backend="jax")
    x, grad_y = (jax.numpy.asarray(normal(batch, n)) for n in (spec.in_features, spec.out_features))
    cores = list(layer.cores.values())
    forms = {"dense": (lambda x, w: x @ w[0].T, [layer.weight])}
    forms["whole"] = (partial(on_jax.run, replace(plan, chunk=None)), cores)
    if plan.chunk is not None:
        forms["by jax"] = (partial(on_jax.run, plan, forward_mode=True), cores)
        forms["planned"] = (partial(on_jax.run, plan), cores)
    steps = {form: step(run, x, grad_y, operands) for form, (run, operands) in forms.items()}
    times = paired({form: call for form, (_, call) in steps.items()}, seconds)
    memory = {form: compiled.memory_analysis().temp_size_in_bytes / 1e6 for form, (compiled, _) in steps.items()}
    ratios = [ratio(times, form, "dense") for form in ("whole", "by jax", "planned")]
    megabytes = [f"{memory[form]:.1f}" if form in memory else "" for form in ("whole", "by jax", "planned")]
    dense = f"{1e3 * statistics.median(times['dense']):.2f}"
    return row(name, batch, plan.chunk or "all", dense, *ratios, ratio(times, "planned", "by jax"), *megabytes)


def numpy_row(name: str, batch: int, seconds: float) -> str:
    """Ratios of forward passes."""
    layer = tnl.build(LAYERS[name], backend="numpy")
    plan, x, weight, cores = layer.plan_for(batch), normal(batch, layer.spec.in_features), layer.weight, layer.cores
    calls = {"dense": lambda: x @ weight.T}
    calls["whole"] = partial(on_numpy.run, replace(plan, chunk=None), x, list(cores.values()))
    if plan.chunk is not None:
        calls["chunks"] = partial(on_numpy.run, plan, x, list(cores.values()))
    times = paired(calls, seconds)
    ratios = [ratio(times, form, "dense") for form in ("whole", "chunks")]
    return row(name, batch, plan.chunk or "all", f"{1e3 * statistics.median(times['dense']):.2f}", *ratios)


def tables(seconds: float) -> str:
    """The figures of both."""
    head = ["layer", "batch", "rows at a time", "dense ms", "whole / dense"]
    more = ["by jax / dense", "planned / dense", "planned / by jax", "MB whole", "MB by jax", "MB planned"]
    lines = ["jax, a training step:", "", row(*head, *more), row(*["---"] * len(head + more))]
    lines += [jax_row(*cell, seconds) for cell in CELLS]
    lines += ["", "numpy, a forward pass:", "", row(*head, "chunks / dense"), row(*["---"] * (len(head) + 1))]
    lines += [numpy_row(*cell, seconds / 4) for cell in CELLS]
    return "\n".join([*lines, "", made(seconds)])


def made(seconds: float) -> str:
    """Where and how the figures were made."""
    versions = f"jax {version('jax')}, numpy {version('numpy')}, Python {platform.python_version()}"
    cores, load = ",".join(map(str, sorted(os.sched_getaffinity(0)))), os.getloadavg()[1]
    command = f"taskset -c {cores} python docs/results/chunks.py --seconds {seconds:g}"
    return f"`{command}` at commit {str(commit())[:7]}, {versions}, {cpu_name()}; load average {load:.0f} meanwhile."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each cell is timed, at least")
    found = tables(parser.parse_args().seconds)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), "chunks", found), encoding="utf-8")
