"""The limit: how fast this machine could run the best plan found, if products and memory were all there is.

Each product of the plan is timed by itself, into a reused output, at the rate this machine reaches for exactly
that shape. A training step has two more products per product, and those that a plan in chunks computes again. A core
that a stack of matrices shares is read once, and its gradient is one product over the whole stack. Inference has at
hand what does not depend on the input, as far as a layer keeps it (`PREPARED_LIMIT`), so its products are those of the
batch alone.

Their bytes are those that no run of the plan can do without. States may stay in the cache, and a product that is timed
again and again finds its operands there as far as they fit. The rows of x, y and their gradients cannot: a plan in
chunks comes by each of them once, so the product that reads or writes them walks through all of them, as they lie. And
y and the gradient of x are new arrays at every call, of which large ones are pages that the system has yet to hand out.
The layer cannot be faster than the sum of these, nor than reading its input and its cores and writing its output at the
rate of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, repeat
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from tnlayers.bench.cells import Cell
from tnlayers.bench.measure import clock_for
from tnlayers.cores.layer_plan import plan
from tnlayers.machine.rates import Sizes
from tnlayers.planning.plan import AnyPlan, Plan
from tnlayers.pricing.limits import PREPARED_LIMIT
from tnlayers.program.events import Event, Stage, along, back
from tnlayers.program.program import Multiply

_LEAST_SECONDS = 4e-3
_REPEATS = 4
_LARGEST = 8e9  # flops; a larger product is timed with fewer rows, and its time taken in proportion


class Product(NamedTuple):
    """One product of a plan.

    Attributes:
        sizes: Its stack, rows, summed, columns.
        shared: Whether the stack shares the right operand.
        parts: Of how many arrays of the size that it takes the left and the right operand and the result are one.
    """

    sizes: tuple[int, int, int, int]
    shared: bool = False
    parts: tuple[int, int, int] = (1, 1, 1)

    @property
    def flops(self) -> int:
        """Its arithmetic."""
        return 2 * prod(self.sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The least time of a cell on this machine.

    Attributes:
        products: Seconds of the plan's products.
        pages: Seconds that the system takes to hand out memory for the results.
        moved: Seconds of the compulsory bytes.
        flops: Flops of these products.
        bytes: The compulsory bytes.
    """

    products: float
    pages: float
    moved: float
    flops: int
    bytes: int

    @property
    def seconds(self) -> float:
        """Products and pages, or the compulsory bytes where these take longer."""
        return max(self.products + self.pages, self.moved)


def best_plan(cell: Cell) -> AnyPlan:
    """The plan that our layer runs in a cell."""
    objective = "inference" if cell.mode == "forward" else "training"
    return plan(cell.spec, batch=cell.batch, objective=objective, dtype=cell.dtype)  # type: ignore[arg-type]


def limit(cell: Cell) -> Limit:
    """The least time of a cell on this machine."""
    products = [each for term in best_plan(cell).terms for each in products_of(term)]
    entries = cell.batch * (cell.in_features + cell.out_features) + cell.spec.parameters
    moved: int = (1 if cell.mode == "forward" else 2) * entries * getattr(torch, cell.dtype).itemsize
    made = [cell.out_features, *([cell.in_features] if cell.mode == "training" else [])]
    return Limit(
        products=sum(count * product_seconds(product, cell.dtype, cell.threads) for product, count in products),
        pages=sum(page_seconds(cell.batch * features, cell.dtype, cell.threads) for features in made),
        moved=moved / read_rate(cell.threads),
        flops=sum(count * product.flops for product, count in products),
        bytes=moved,
    )


def products_of(plan: Plan) -> Iterator[tuple[Product, int]]:
    """All products of a plan, each with how often it is computed."""
    stages = _stages(plan)
    ready = plan.objective == "inference" and plan.prepared <= PREPARED_LIMIT
    for number, step in enumerate(plan.program.steps):
        if number in stages:
            yield from _link_products(plan, *stages[number])
        elif isinstance(step, Multiply) and not ready:
            yield from _core_products(step.sizes, plan)


def _stages(plan: Plan) -> dict[int, tuple[Stage, Stage]]:
    """The events of each link along and back, by the number of its step; back there are none without gradients."""
    if plan.sweep is None:
        return {}
    chain, batch, training = plan.sweep.chain, plan.batch or 1, plan.objective == "training"
    ways_back = [*back(chain, batch, again=plan.chunk is not None)][::-1] if training else repeat(())
    ways = zip(along(chain, batch), ways_back, strict=False)
    return {link.step: both for link, both in zip(chain.links, ways, strict=False)}  # the arrangement has no product


def _core_products(sizes: Sizes, plan: Plan) -> Iterator[tuple[Product, int]]:
    """A product of cores alone, with those that the backward pass makes of it."""
    stack, rows, summed, columns = sizes
    yield Product(sizes), 1
    if plan.objective == "training":
        yield Product((stack, rows, columns, summed)), 1
        yield Product((stack, summed, rows, columns)), 1


def _link_products(plan: Plan, forth: Stage, way_back: Stage) -> Iterator[tuple[Product, int]]:
    """A product of the chain with those that the backward pass makes of it; what a stack shares is on the right.

    Rows of x and y, and of their gradients, are walked through as they lie: one array in as many parts as chunks.
    """
    *copies, product = forth
    rows = min(plan.chunk or plan.batch or 1, plan.batch or 1)
    count = -(-(plan.batch or 1) // rows)
    shared = product.shared and product.at(rows)[0] > 1
    on_left = shared or product.state_left
    state = count if product.at_input and not copies else 1
    result = count if product.at_output and not product.makes else 1
    times = 1 + sum(event.again and event.kind == "product" for event in way_back)
    parts = (state, 1, result) if on_left else (1, state, result)
    yield Product(_turned(product, rows, on_left=on_left), shared, parts), count * times
    # The gradient of the matrix comes first and reads that of the result; the rows of x have just been read again.
    for event in way_back:
        sizes = _turned(event, rows, on_left=on_left)
        if event.kind == "sum":
            stack, height, summed, width = sizes
            added = (1, height, stack * summed, width) if shared else sizes
            yield Product(added, False, (1, result, 1) if on_left else (result, 1, 1)), count
        elif event.kind == "product" and not event.again:
            yield Product(sizes, shared, (1, 1, state)), count


def _turned(event: Event, rows: int, *, on_left: bool) -> Sizes:
    """A product's sizes, all of it transposed where the state is to be the left operand and is the right one."""
    stack, height, summed, width = event.at(rows)
    return (stack, width, summed, height) if on_left and not event.state_left else (stack, height, summed, width)


@lru_cache(maxsize=8192)
def product_seconds(product: Product, dtype: str, threads: int) -> float:
    """The best time of a product on contiguous operands and a reused output.

    Args:
        product: Its sizes, and where its operands lie.
        dtype: Name of the dtype.
        threads: Threads to compute with.
    """
    sides, share = list(product.sizes), 1.0
    while 2.0 * prod(sides) > _LARGEST:
        largest = max(range(4), key=lambda k: sides[k])
        share, sides[largest] = share * sides[largest] / (half := sides[largest] // 2), half
    stack, rows, summed, columns = sides
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    lefts, rights, outs = product.parts
    left = torch.randn(lefts, stack, rows, summed).to(kind)
    right = torch.randn(rights, 1 if product.shared else stack, summed, columns).to(kind).expand(-1, stack, -1, -1)
    out = torch.empty(outs, stack, rows, columns, dtype=kind)
    run: Callable[..., Tensor] = torch.bmm
    if stack == 1:
        left, right, out, run = left[:, 0], right[:, 0], out[:, 0], torch.mm
    walk = cycle(range(max(product.parts)))
    operands = [(left[k % lefts], right[k % rights], out[k % outs]) for k in range(max(product.parts))]

    def once() -> None:
        a, b, c = operands[next(walk)]
        run(a, b, out=c)

    return share * _best(once, threads)


@lru_cache(maxsize=256)
def page_seconds(entries: int, dtype: str, threads: int) -> float:
    """What writing to a new array takes beyond writing to one in use: large ones are asked of the system every time."""
    torch.set_num_threads(threads)
    reused = torch.empty(entries, dtype=getattr(torch, dtype))
    new = _best(lambda: torch.empty_like(reused).fill_(1), threads)
    return max(new - _best(lambda: reused.fill_(1), threads), 0.0)


@lru_cache(maxsize=8)
def read_rate(threads: int) -> float:
    """Bytes per second of a sum over an array larger than the caches."""
    torch.set_num_threads(threads)
    array = torch.ones(256 * 2**20 // 4)
    return array.numel() * 4 / _best(array.sum, threads)


@lru_cache(maxsize=8)
def peak_rate(dtype: str, threads: int) -> float:
    """Flops per second of a large product."""
    return 2.0 * 1024**3 / product_seconds(Product((1, 1024, 1024, 1024)), dtype, threads)


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
