"""The limit: how fast this machine could run the best plan found, if products and memory were all there is.

Each product of the plan is timed by itself, into an output that is kept, at the rate this machine reaches for exactly
that shape; a training step has two more products per product. The layer cannot be faster than the sum of these, nor
than reading its input and its cores and writing its output at the rate of memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch

from tnlayers.bench.cells import Cell
from tnlayers.planning import plan
from tnlayers.program import Multiply
from tnlayers.spec import spec

_LEAST_SECONDS = 5e-3
_REPEATS = 5


def limit(cell: Cell) -> float:
    """Seconds that the products and the compulsory bytes of a cell take at least on this machine."""
    made = spec(cell.template, cell.in_features, cell.out_features)
    found = plan(made, batch=cell.batch, objective=cell.mode, dtype=cell.dtype)
    products = 0.0
    for term in found.terms:
        for step in term.program.steps:
            if isinstance(step, Multiply):
                stack, rows, summed, columns = step.sizes
                shapes = [(stack, rows, summed, columns)]
                if cell.mode == "training":
                    shapes += [(stack, rows, columns, summed), (stack, summed, rows, columns)]
                products += sum(product_seconds(*shape, cell.dtype, cell.threads) for shape in shapes)
    entries = cell.batch * (cell.in_features + cell.out_features) + made.parameters
    passes = 1 if cell.mode == "forward" else 2
    itemsize = getattr(torch, cell.dtype).itemsize
    moved: float = passes * entries * itemsize / read_rate(cell.threads)
    return max(products, moved)


@lru_cache(maxsize=4096)
def product_seconds(stack: int, rows: int, summed: int, columns: int, dtype: str, threads: int) -> float:
    """The best time of a product of these sizes on contiguous operands and a kept output."""
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    left, right = torch.randn(stack, rows, summed).to(kind), torch.randn(stack, summed, columns).to(kind)
    out = torch.empty(stack, rows, columns, dtype=kind)
    if stack == 1:
        left, right, out = left[0], right[0], out[0]
    product = torch.mm if stack == 1 else torch.bmm

    def run() -> None:
        product(left, right, out=out)

    return _best(run)


@lru_cache(maxsize=8)
def read_rate(threads: int) -> float:
    """Bytes per second of a sum over an array larger than the caches."""
    torch.set_num_threads(threads)
    array = torch.ones(64 * 2**20 // 4)
    return array.numel() * 4 / _best(array.sum)


def _best(run: Callable[[], object]) -> float:
    run()
    begin = time.perf_counter()
    run()
    repeats = max(1, int(_LEAST_SECONDS / max(time.perf_counter() - begin, 1e-7)))
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        times.append((time.perf_counter() - begin) / repeats)
    return min(times)
