"""Measuring this machine's rates with torch: what `tnlayers calibrate` does; GPUs are measured in `cuda.py`.

Each rate is taken from operations that plans are made of, at a shape where that rate decides. Time is processor time,
so that the rates are those of one core, and the shortest of several runs counts, since others may use the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from time import process_time

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError
from tnlayers.machine.rates import FREE, LANES, STRETCH, Machine
from tnlayers_backends.torch.measure.calls import with_calls
from tnlayers_backends.torch.measure.cuda import measure_cuda
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.workspace import total_like

_LARGE = 2**24  # entries: 64 MiB of float32, beyond most caches
_LARGEST = 2**26  # beyond one core's share of the largest caches
_MIDDLE = 2**22  # 16 MiB, beyond those of one core
_SMALL = 2**16  # entries: 256 KiB of float32, within them
_SECONDS = 0.08  # spent on each rate
_TRIES = 10  # of new memory, which a host may have to find for its guest the first times
_NOISE = 0.1  # a difference of times is none below this share


def measure(device: torch.device | str = "cpu", dtype: str = "float32") -> Machine:
    """Measure the rates of the processor, or of a GPU for products of a dtype.

    Raises:
        TNLayersError: If torch knows no such device, or it is neither.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise TNLayersError(f"torch knows no device {device!r}: use cpu, cuda, or cuda:1 and so on.") from error
    if place.type == "cpu":
        return measure_cpu(getattr(torch, dtype))
    if place.type != "cuda" or (place.index or 0) >= torch.cuda.device_count():
        raise TNLayersError(
            f"device={str(place)!r} cannot be measured here: there are cpu and {torch.cuda.device_count()} CUDA "
            "device(s)."
        )
    with torch.cuda.device(place):
        return measure_cuda(place, getattr(torch, dtype))


@torch.no_grad()
def measure_cpu(dtype: torch.dtype) -> Machine:
    """Measure the rates of one core, for products of a dtype.

    Returns:
        The rates; what is not measured (the size of the cache and of a fresh allocation) has the default.
    """
    ones = torch.ones((), dtype=dtype)
    flops_per_second = 2 * 1024**3 / _product(ones, 1024, 1024, 1024)
    tiny = ones.new_zeros(4, 4)
    call = _shortest(lambda: OPS.matmul(OPS.reshape(tiny, (2, 8)), OPS.reshape(tiny, (8, 2))))
    stack, small = 512, ones.new_zeros(512, 8, 8)
    matrix, out = ones.new_zeros(8, 8), ones.new_zeros(512, 8, 8)
    total = total_like(matrix)
    stacked = _shortest(lambda: OPS.matmul_into(out, matrix, small)) / stack
    summed = _shortest(lambda: OPS.add_product(total, out, small)) / stack
    machine = Machine(
        flops_per_second=flops_per_second,
        side=_side(ones, flops_per_second),
        cached_bytes_per_second=_copied(ones, _SMALL),
        # States of a batch may stay in a cache that cores share, large weights do not: one rate in between for both.
        bytes_per_second=sqrt(_read(_MIDDLE) * _read(_LARGEST)),
        fresh_bytes_per_second=ones.itemsize * _LARGE / _shortest(lambda: ones.new_ones(_LARGE), least=_TRIES),
        permuted_bytes_per_second=_permuted(ones, _LARGE // 2, (2, 1, 0)),
        cached_permuted_bytes_per_second=_permuted(ones, _SMALL, (2, 1, 0)),
        runs_bytes_per_second=_permuted(ones, _LARGE // 2, (1, 0, 2)),
        cached_runs_bytes_per_second=_permuted(ones, _SMALL, (1, 0, 2)),
        repeated_bytes_per_second=_repeated(ones),
        seconds_per_call=call,
        seconds_per_product=max(_product(ones, 16, 32, 16) - _product(ones, 2, 8, 2), 1e-9),
        seconds_per_matrix=stacked,
        seconds_per_sum=max(summed, stacked),
    )
    return with_calls(machine, ones, _shortest)


def _side(like: Tensor, flops_per_second: float) -> float:
    """How much longer than it is a short side seems to be: on average over the three sides of a product."""
    long, short = 512, 8  # operands that stay in the cache: moving them is counted by itself
    shapes = ((short, long, long), (long, short, long), (long, long, short))
    seems = [_product(like, *shape) * flops_per_second / (2 * long * long) for shape in shapes]
    return min(max((sum(seems) - 2 * short - max(short, LANES)) / 3, 1.0), 256.0)


def _product(like: Tensor, rows: int, summed: int, columns: int) -> float:
    left, right, out = like.new_ones(rows, summed), like.new_ones(summed, columns), like.new_zeros(rows, columns)
    return _shortest(lambda: OPS.matmul_into(out, left, right))


def _copied(like: Tensor, entries: int) -> float:
    """Bytes a second, read and written, of copies into memory in use."""
    array, out = like.new_ones(entries), like.new_ones(entries)
    return 2 * like.itemsize * entries / _shortest(lambda: OPS.copy_into(out, array))


def _read(entries: int) -> float:
    """Bytes a second of reading: products do so, while copies may go around the cache and take a third of the time."""
    array = torch.ones(entries)
    return array.nbytes / _shortest(array.sum)


def _permuted(like: Tensor, entries: int, order: tuple[int, int, int]) -> float:
    array = OPS.permute(like.new_ones(STRETCH, entries // STRETCH**2, STRETCH), order)
    out = like.new_ones(array.shape)
    return 2 * like.itemsize * entries / _shortest(lambda: OPS.copy_into(out, array))


def _repeated(like: Tensor) -> float:
    """Bytes a second of writing out a matrix for each of a stack, if that is what a product does."""
    matrix, stack, out = like.new_ones(64, 1024), like.new_ones(16, 1024, 64), like.new_ones(16, 64, 64)
    written = matrix.expand(16, -1, -1).contiguous()
    apart = _shortest(lambda: OPS.matmul_into(out, written, stack))
    extra = _shortest(lambda: OPS.matmul_into(out, matrix, stack)) - apart
    return written.nbytes / extra if extra > _NOISE * apart else FREE


def _shortest(run: Callable[[], object], least: int = 1) -> float:
    """The shortest time of a call, over repetitions that last a while, and at least so many."""
    run()
    begin = process_time()
    run()
    repeats = max(1, int(2e-3 / max(process_time() - begin, 1e-7)))
    best, end, done = float("inf"), process_time() + _SECONDS, 0
    while process_time() < end or done < least:
        done += 1
        begin = process_time()
        for _ in range(repeats):
            run()
        best = min(best, (process_time() - begin) / repeats)
    return best
