"""The limit: how fast this machine could run the best plan found, if products and memory were all there is.

Each product of the plan is timed by itself, into an output that is kept, at the rate this machine reaches for exactly
that shape. A training step has two more products per product, and those that a plan in chunks computes again. A core
that a stack of matrices shares is read once, and its gradient is one product over the whole stack. The layer cannot be
faster than the sum of these, nor than reading its input and its cores and writing its output at the rate of memory.
Inference has at hand what does not depend on the input, as far as a layer keeps it (`PREPARED_LIMIT`), so its products
are those of the batch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch

from tnlayers.bench.cells import Cell
from tnlayers.bench.measure import clock_for
from tnlayers.chain import Link
from tnlayers.memory import PREPARED_LIMIT
from tnlayers.plan import Plan
from tnlayers.planning import AnyPlan, plan
from tnlayers.program import Multiply

_LEAST_SECONDS = 4e-3
_REPEATS = 4
_LARGEST = 8e9  # flops; a larger product is timed with fewer rows, and its time taken in proportion

Product = tuple[int, int, int, int, bool]  # stack, rows, summed, columns, and whether the stack shares the right one


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The least time of a cell on this machine.

    Attributes:
        products: Seconds of the plan's products.
        moved: Seconds of the compulsory bytes.
        flops: Flops of these products.
        bytes: The compulsory bytes.
    """

    products: float
    moved: float
    flops: int
    bytes: int

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.products, self.moved)


def best_plan(cell: Cell) -> AnyPlan:
    """The plan that our layer runs in a cell."""
    objective = "inference" if cell.mode == "forward" else "training"
    return plan(cell.spec, batch=cell.batch, objective=objective, dtype=cell.dtype)  # type: ignore[arg-type]


def limit(cell: Cell) -> Limit:
    """The least time of a cell on this machine."""
    products = [each for term in best_plan(cell).terms for each in products_of(term)]
    entries = cell.batch * (cell.in_features + cell.out_features) + cell.spec.parameters
    moved: int = (1 if cell.mode == "forward" else 2) * entries * getattr(torch, cell.dtype).itemsize
    return Limit(
        products=sum(count * product_seconds(*sizes, cell.dtype, cell.threads) for sizes, count in products),
        moved=moved / read_rate(cell.threads),
        flops=sum(count * 2 * a * b * c * d for (a, b, c, d, _), count in products),
        bytes=moved,
    )


def products_of(plan: Plan) -> Iterator[tuple[Product, int]]:
    """The sizes of all products of a plan, each with how often it is computed."""
    links = {} if plan.sweep is None else {link.step: link for link in plan.sweep.chain.links}
    last = max(links, default=None)
    ready = plan.objective == "inference" and plan.prepared <= PREPARED_LIMIT
    for number, step in enumerate(plan.program.steps):
        if not isinstance(step, Multiply) or (ready and number not in links):
            continue
        link, batch = links.get(number), plan.batch or 1
        rows = batch if plan.chunk is None else min(plan.chunk, batch)
        sizes = step.sizes if link is None else link.sizes(batch, rows)
        count = 1 if link is None else -(-batch // rows)
        yield from _with_backward(sizes, count, link, plan, again=plan.chunk is not None and number != last)


def _with_backward(
    sizes: tuple[int, int, int, int], count: int, link: Link | None, plan: Plan, *, again: bool
) -> Iterator[tuple[Product, int]]:
    """One product with those that the backward pass makes of it; a shared core always stands on the right here."""
    stack, rows, summed, columns = sizes
    shared = link is not None and link.spread and stack > 1
    if shared and link is not None and not link.state_left:
        rows, columns = columns, rows
    recomputed = again and link is not None and plan.objective == "training"
    yield (stack, rows, summed, columns, shared), count * (2 if recomputed else 1)
    if plan.objective == "training":
        yield (stack, rows, columns, summed, shared), count
        yield (1, summed, stack * rows, columns, False) if shared else (stack, summed, rows, columns, False), count


@lru_cache(maxsize=8192)
def product_seconds(stack: int, rows: int, summed: int, columns: int, shared: bool, dtype: str, threads: int) -> float:
    """The best time of a product of these sizes on contiguous operands and a kept output.

    Args:
        stack: Number of products.
        rows: Rows of each left operand.
        summed: Size of the index that is summed.
        columns: Columns of each right operand.
        shared: Whether all products have the same right operand.
        dtype: Name of the dtype.
        threads: Threads to compute with.
    """
    sides = [stack, rows, summed, columns]
    part = 1.0
    while 2.0 * sides[0] * sides[1] * sides[2] * sides[3] > _LARGEST:
        largest = max(range(4), key=lambda k: sides[k])
        part, sides[largest] = part * sides[largest] / (half := sides[largest] // 2), half
    stack, rows, summed, columns = sides
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    left, right = (
        torch.randn(stack, rows, summed).to(kind),
        torch.randn(1 if shared else stack, summed, columns).to(kind),
    )
    out = torch.empty(stack, rows, columns, dtype=kind)
    if stack == 1:
        return part * _best(lambda: torch.mm(left[0], right[0], out=out[0]), threads)
    right = right.expand(stack, -1, -1)
    return part * _best(lambda: torch.bmm(left, right, out=out), threads)


@lru_cache(maxsize=8)
def read_rate(threads: int) -> float:
    """Bytes per second of a sum over an array larger than the caches."""
    torch.set_num_threads(threads)
    array = torch.ones(256 * 2**20 // 4)
    return array.numel() * 4 / _best(array.sum, threads)


@lru_cache(maxsize=8)
def peak_rate(dtype: str, threads: int) -> float:
    """Flops per second of a large product."""
    return 2.0 * 1024**3 / product_seconds(1, 1024, 1024, 1024, False, dtype, threads)


def _best(run: Callable[[], object], threads: int) -> float:
    clock = clock_for(threads)
    run()
    begin = clock()
    run()
    once = max(clock() - begin, 1e-7)
    repeats = max(1, int(_LEAST_SECONDS / once))
    times = [once]
    for _ in range(_REPEATS if once < 0.05 else 1):
        begin = clock()
        for _ in range(repeats):
            run()
        times.append((clock() - begin) / repeats)
    return min(times)
