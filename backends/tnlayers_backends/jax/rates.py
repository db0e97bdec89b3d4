"""Measuring XLA's rates: what `tnlayers calibrate --backend jax` does, so that plans for jax are ranked by them.

Each rate is taken from compiled functions in which it decides. XLA takes a permutation into the operation that reads it
where it can, so a permutation is timed in front of a product, against the product alone, and only what it adds counts.
Launching a compiled function is measured once and taken off. Times are those of the clock, on all threads that XLA has:
bind the process to the processors that training will have. The shortest of several runs counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod, sqrt
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp

from tnlayers.cores.layer_plan import one_by_one
from tnlayers.cores.linear_map import LinearMap
from tnlayers.machine.calls import LEAST, with_constants
from tnlayers.machine.rates import FREE, LANES, STRETCH, Machine
from tnlayers.planning.lowered import Objective
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.linear import JaxLinear
from tnlayers_backends.jax.primitives import OPS

_LARGE = 2**24  # entries: 64 MiB of float32, beyond most caches
_MIDDLE = 2**22  # 16 MiB, beyond those of one core
_SMALL = 2**16  # entries: 256 KiB of float32, within them
_SIDE = 1024  # of a large product
_SECONDS = 0.08  # spent on each rate
_NOISE = 0.1  # a difference of times is none below this share
_STEPS = 32  # of a chain of tiny products


def measure(dtype: str = "float32") -> Machine:
    """Measure the rates of jax's default device, for products of a dtype.

    Returns:
        The rates; what is not measured (the size of the cache and of a fresh allocation) has the default.

    Raises:
        TNLayersError: If jax has no such dtype in its present mode.
    """
    ones = partial(jnp.ones, dtype=checked_dtype(dtype))
    launch = _shortest(_compiled(lambda x: x + 1, ones((4,))))

    def timed(function: Callable[..., Any], *arrays: jax.Array) -> float:
        return max(_shortest(_compiled(function, *arrays)) - launch, LEAST)

    def product(rows: int, summed: int, columns: int) -> float:
        return timed(OPS.matmul, ones((rows, summed)), ones((summed, columns)))

    itemsize, stack = ones(()).itemsize, 512
    flops_per_second = 2 * _SIDE**3 / product(_SIDE, _SIDE, _SIDE)
    started = max(product(16, 32, 16) - product(2, 8, 2), LEAST)
    matrix, small = ones((8, 8)), ones((stack, 8, 8))
    stacked = timed(OPS.matmul, matrix, small) / stack
    summed = timed(OPS.add_product, matrix.astype(jnp.promote_types(dtype, jnp.float32)), small, small) / stack
    steps = [timed(_chain, ones((4, 4)), ones((count, 4, 4))) for count in (1, 1 + _STEPS)]

    def copied(entries: int) -> float:
        return 2 * itemsize * entries / timed(lambda x: x + 1, ones((entries,)))

    def read(entries: int) -> float:
        return itemsize * entries / timed(jnp.sum, ones((entries,)))

    at_hand = copied(_SMALL)

    def permuted(entries: int, order: tuple[int, int, int]) -> float:
        """Bytes a second of a permutation in front of a product; no more than of a copy."""
        x, w = ones((STRETCH, entries // STRETCH**2, STRETCH)), ones((STRETCH, STRETCH))
        with_it = timed(lambda x, w: jnp.reshape(jnp.transpose(x, order), (-1, STRETCH)) @ w, x, w)
        extra = with_it - timed(lambda x, w: jnp.reshape(x, (-1, STRETCH)) @ w, x, w)
        return min(2 * itemsize * entries / max(extra, LEAST), max(at_hand, copied(_LARGE // 2)))

    machine = Machine(
        flops_per_second=flops_per_second,
        side=_side(lambda *sizes: product(*sizes) - started, flops_per_second),
        cached_bytes_per_second=at_hand,
        bytes_per_second=sqrt(read(_MIDDLE) * read(_LARGE)),
        fresh_bytes_per_second=itemsize * _LARGE / timed(lambda one: jnp.full((_LARGE,), one), ones(())),
        permuted_bytes_per_second=permuted(_LARGE // 2, (2, 1, 0)),
        cached_permuted_bytes_per_second=permuted(_SMALL, (2, 1, 0)),
        runs_bytes_per_second=permuted(_LARGE // 2, (1, 0, 2)),
        cached_runs_bytes_per_second=permuted(_SMALL, (1, 0, 2)),
        repeated_bytes_per_second=_repeated(timed, ones),
        seconds_per_call=max((steps[1] - steps[0]) / _STEPS, LEAST),
        seconds_per_product=started,
        seconds_per_matrix=stacked,
        seconds_per_sum=max(summed, stacked),
    )
    return with_constants(machine, partial(_inference, dtype), partial(_training, dtype), _shortest)


def _chain(state: jax.Array, matrices: jax.Array) -> jax.Array:
    for matrix in matrices:
        state = jnp.reshape(OPS.matmul(jnp.reshape(state, (4, 4)), matrix), (2, 8))
    return state


def _side(product: Callable[[int, int, int], float], flops_per_second: float) -> float:
    """How much longer than it is a short side seems to be: on average over the three sides of a product."""
    long, short = 512, 8
    shapes = ((short, long, long), (long, short, long), (long, long, short))
    seems = [product(*shape) * flops_per_second / (2 * long * long) for shape in shapes]
    return min(max((sum(seems) - 2 * short - max(short, LANES)) / 3, 1.0), 256.0)


def _repeated(timed: Callable[..., float], ones: Callable[..., jax.Array]) -> float:
    """Bytes a second of writing out a matrix for each of a stack, if that is what a product does."""
    matrix, stack, written = ones((64, 1024)), ones((16, 1024, 64)), ones((16, 64, 1024))
    apart = timed(OPS.matmul, written, stack)
    extra = timed(OPS.matmul, matrix, stack) - apart
    return float(written.nbytes / extra) if extra > _NOISE * apart else FREE


def _inference(dtype: str, cores: int, chunk: int | None) -> Callable[[], object]:
    """The compiled call of a layer of tiny cores on one row."""
    layer, x = _layer(dtype, cores, 1, "inference", chunk)
    return _compiled(lambda params, x: layer.apply(params, x), layer.params, x)


def _training(dtype: str, cores: int, rows: int, chunk: int | None) -> Callable[[], object]:
    """A compiled training step of such a layer: the output and all gradients."""
    layer, x = _layer(dtype, cores, rows, "training", chunk)

    def step(params: Any, x: jax.Array) -> Any:
        y, back = jax.vjp(layer.apply, params, x)
        return y, back(y)

    return _compiled(step, layer.params, x)


def _layer(dtype: str, cores: int, rows: int, objective: Objective, chunk: int | None) -> tuple[JaxLinear, jax.Array]:
    made, plan = one_by_one(cores, rows, objective, chunk)
    linear = LinearMap(made, dtype, pinned=plan, buckets=())
    params = {name: jnp.ones(shape, dtype) / prod(shape) for name, shape in linear.shapes.items()}
    return JaxLinear(params, linear), jnp.ones((rows, made.in_features), dtype)


def _compiled(function: Callable[..., Any], *arrays: Any) -> Callable[[], object]:
    run = jax.jit(function).lower(*arrays).compile()
    return lambda: jax.block_until_ready(run(*arrays))  # type: ignore[no-untyped-call]


def _shortest(run: Callable[[], object]) -> float:
    """The shortest time of a call, over repetitions that last a while."""
    run()
    begin = perf_counter()
    run()
    repeats = max(1, int(2e-3 / max(perf_counter() - begin, 1e-7)))
    best, end = float("inf"), perf_counter() + _SECONDS
    while perf_counter() < end or best == float("inf"):
        begin = perf_counter()
        for _ in range(repeats):
            run()
        best = min(best, (perf_counter() - begin) / repeats)
    return best
