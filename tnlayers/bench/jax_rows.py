"""The jax rows: our layer, the dense one, a rebuilt weight and one einsum, each a function under `jax.jit`.

XLA computes on as many threads as the process may use processors when jax is loaded, so it is loaded on one of them.
Memory is what XLA's own analysis of the compiled function reports: its temporary memory, and y.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tnlayers.bench.cells import Cell
from tnlayers.bench.subjects import Answer, Given, Subject, double
from tnlayers.cores.building import build
from tnlayers.declare.graph import forward


@contextmanager
def one_processor() -> Iterator[None]:
    """Stay on one processor, where the system has a call for it (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def jax_makers() -> dict[str, Callable[[Cell, Given], Subject]]:
    """Name -> how to make the subject."""
    return {name: _maker(name) for name in ("dense", "tnlayers", "rebuild", "opt_einsum")}


def _maker(name: str) -> Callable[[Cell, Given], Subject]:
    return lambda cell, given: _subject(name, cell, given)


def _function(name: str, cell: Cell) -> Callable[[dict[str, Any], Any], Any]:
    """Y from the cores (or the dense weight) and x."""
    import jax.numpy as jnp
    import opt_einsum

    layer = build(cell.spec, backend="jax", dtype=cell.dtype)
    (graph,) = cell.spec.graphs
    contraction = forward(graph, cell.batch)
    if name == "dense":
        return lambda params, x: x @ params["weight"].T
    if name == "tnlayers":
        return lambda params, x: layer.apply(params, x)
    if name == "rebuild":
        from dataclasses import replace

        return lambda params, x: x @ replace(layer, params=params).to_dense().T
    equation = contraction.equation(*contraction.operands, contraction.output)
    shapes = [tuple(contraction.sizes[i] for i in operand) for operand in contraction.operands]
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="optimal")

    def einsum(params: dict[str, Any], x: Any) -> Any:
        operands = [x.reshape(-1, *graph.in_modes), *(params[core] for core in graph.shapes)]
        return jnp.einsum(equation, *operands, optimize=path).reshape(x.shape[0], -1)

    return einsum


def _subject(name: str, cell: Cell, given: Given) -> Subject:
    import jax

    apply = _function(name, cell)
    params = {core: jax.numpy.asarray(double(array), dtype=cell.dtype) for core, array in given.cores.items()}
    if name == "dense":
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(cell.out_features, cell.in_features, generator=random) / cell.in_features**0.5
        params = {"weight": jax.numpy.asarray(weight.numpy(), dtype=cell.dtype)}
    x, grad_y, probe = (
        jax.numpy.asarray(array.detach().float().numpy(), dtype=cell.dtype)
        for array in (given.x, given.grad_y, given.probe)
    )

    def step(params: dict[str, Any], x: Any, grad_y: Any) -> Any:
        if cell.mode == "forward":
            return apply(params, x)
        y, back = jax.vjp(apply, params, x)
        return y, back(grad_y)

    compiled = jax.jit(step).lower(params, x, grad_y).compile()

    def answer() -> Answer:
        if cell.mode == "forward":
            return {"y": double(compiled(params, x, grad_y)[0 : cell.batch])[given.rows]}
        y, (by_core, by_x) = compiled(params, x, probe)
        found = {"y": double(y)[given.rows], "x": double(by_x)[given.rows]}
        return found | {core: double(gradient) for core, gradient in by_core.items()}

    def memory() -> tuple[int, int]:
        found = compiled.memory_analysis()
        assert found is not None, "XLA analyses every compiled function on the CPU"
        y = cell.batch * cell.out_features * x.dtype.itemsize
        return int(found.temp_size_in_bytes) + y, 0

    return Subject(
        call=lambda: jax.block_until_ready(compiled(params, x, grad_y)),  # type: ignore[no-untyped-call]
        answer=None if name == "dense" else answer,
        memory=memory,
        rows=lambda rows: None,
    )
