"""Measuring a GPU's rates with torch: what `tnlayers calibrate --device cuda` does.

Each operation is captured many times over in one CUDA graph, and the replay is timed by events, so that launches from
Python do not count; what a launch costs is measured by itself, by the clock of the processor. The shortest of several
replays counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from tnlayers.machine.rates import GPU, STRETCH, Machine
from tnlayers_backends.torch.measure.calls import with_calls
from tnlayers_backends.torch.run.primitives import OPS

_LARGE = 2**26  # entries: 256 MiB of float32, beyond all caches
_SMALL = 2**20  # entries: 4 MiB of float32, within the L2
_LONG, _SHORT = 4096, 32  # sides of products
_STACK = 2**14  # of 8 x 8 matrices
_SECONDS = 0.02  # of each timing of calls from Python
_REPLAYS = 5


@torch.no_grad()
def measure_cuda(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure the rates of a CUDA device for products of a dtype.

    Returns:
        The rates. No memory is fresh: torch's allocator gives out again what it has.
    """
    ones = torch.ones((), device=device, dtype=dtype)
    flops_per_second = 2 * _LONG**3 / _product(ones, _LONG, _LONG, _LONG)
    stack, matrix = ones.new_ones(_STACK, 8, 8), ones.new_ones(8, 8)
    out, total = torch.empty_like(stack), ones.new_zeros(8, 8)
    stacked = _captured(lambda: OPS.matmul_into(out, matrix, stack), 20) / _STACK
    summed = _captured(lambda: OPS.add_product(total, out, stack), 20) / _STACK
    tiny = ones.new_ones(4, 4)
    large = _copied(ones, _LARGE)
    machine = replace(
        GPU,
        flops_per_second=flops_per_second,
        side=_side(ones, flops_per_second),
        cached_bytes_per_second=max(_copied(ones, _SMALL), large),
        bytes_per_second=large,
        fresh_bytes_per_second=large,
        permuted_bytes_per_second=_permuted(ones, _LARGE // 2, (2, 1, 0)),
        cached_permuted_bytes_per_second=_permuted(ones, _SMALL, (2, 1, 0)),
        runs_bytes_per_second=_permuted(ones, _LARGE // 2, (1, 0, 2)),
        cached_runs_bytes_per_second=_permuted(ones, _SMALL, (1, 0, 2)),
        cache_bytes=torch.cuda.get_device_properties(device).L2_cache_size // 2,
        seconds_per_call=_called(lambda: OPS.matmul(OPS.reshape(tiny, (2, 8)), OPS.reshape(tiny, (8, 2)))),
        seconds_per_matrix=stacked,
        seconds_per_sum=max(summed, stacked),
    )
    return with_calls(machine, ones, _called)


def _product(like: Tensor, rows: int, summed: int, columns: int, calls: int = 3) -> float:
    # Random numbers: products of ones take less power, and run faster than any real ones.
    left = torch.randn(rows, summed, device=like.device).to(like.dtype)
    right = torch.randn(summed, columns, device=like.device).to(like.dtype)
    out = like.new_empty(rows, columns)
    return _captured(lambda: OPS.matmul_into(out, left, right), calls)


def _side(like: Tensor, flops_per_second: float) -> float:
    """How much longer than it is a short side seems to be: on average over the three sides of a product."""
    shapes = ((_SHORT, _LONG, _LONG), (_LONG, _SHORT, _LONG), (_LONG, _LONG, _SHORT))
    seems = [_product(like, *shape, calls=10) * flops_per_second / (2 * _LONG**2) for shape in shapes]
    return min(max(sum(seems) / 3 - _SHORT, 1.0), 512.0)


def _copied(like: Tensor, entries: int) -> float:
    """Bytes a second, read and written, of copies into memory in use."""
    array, out = like.new_ones(entries), like.new_empty(entries)
    return 2 * array.nbytes / _captured(lambda: OPS.copy_into(out, array), 20)


def _permuted(like: Tensor, entries: int, order: tuple[int, int, int]) -> float:
    array = OPS.permute(like.new_ones(STRETCH, entries // STRETCH**2, STRETCH), order)
    out = like.new_empty(array.shape)
    return 2 * array.nbytes / _captured(lambda: OPS.copy_into(out, array), 20)


def _called(run: Callable[[], object]) -> float:
    """Seconds of small operations called from Python, one call after the other."""

    def seconds(calls: int) -> float:
        torch.cuda.synchronize()
        begin = perf_counter()
        for _ in range(calls):
            run()
        torch.cuda.synchronize()
        return (perf_counter() - begin) / calls

    seconds(1)
    calls = max(1, int(_SECONDS / seconds(3)))
    return min(seconds(calls) for _ in range(_REPLAYS))


def _captured(run: Callable[[], object], calls: int) -> float:
    """Seconds of one call among so many in a CUDA graph, from the shortest replay."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            run()
    graph.replay()
    best = float("inf")
    for _ in range(_REPLAYS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3)
    return best / calls
