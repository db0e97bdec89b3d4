"""Memory of a call: what torch allocates, watched allocation by allocation, parameters, gradients and inputs left out.

    peak    the most bytes alive at once that were allocated during the call and are no gradient that is asked for
    kept    the bytes alive where the backward pass begins, the result left out: what the forward pass keeps for it

Gradients are set to None before, so that theirs are new allocations, known at the end by their addresses. The result y
belongs to the peak. What a layer keeps between calls would be there already and not be seen, so the caller has it
thrown away before (`release`, `invalidate`): kept buffers and rebuilt weights count.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

_BACKWARD = "autograd::engine::evaluate_function"


def memory(call: Callable[[], Any], leaves: Sequence[Tensor] = (), *, result: int = 0) -> tuple[int, int]:
    """Peak and kept bytes of a call.

    Args:
        call: The forward pass, or forward and backward pass.
        leaves: What gets gradients by it: parameters and inputs; none for a forward pass.
        result: Bytes of the result, which is no memory kept for the backward pass.
    """
    for leaf in leaves:
        leaf.grad = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            call()
    assert profiler.profiler is not None
    events = sorted(_events(profiler.profiler.kineto_results.experimental_event_tree()))
    gradients = {leaf.grad.data_ptr(): leaf.grad.nbytes for leaf in leaves if leaf.grad is not None}
    last = {address: k for k, (_, address, size) in enumerate(events) if size > 0 and gradients.get(address) == size}
    live = peak = kept = 0
    started = False
    for k, (_, address, size) in enumerate(events):
        if size == 0 and not started:
            started, kept = True, live
        if last.get(address) != k:
            live += size
            peak = max(peak, live)
    return peak, max(0, kept - result)


def _events(tree: Iterable[Any]) -> Iterator[tuple[int, int, int]]:
    """(time, address, bytes) of every allocation, negative where it ends; (time, 0, 0) where a backward step begins."""
    for event in tree:
        if event.tag.name == "Allocation":
            yield event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size
        elif event.name.startswith(_BACKWARD):
            yield event.start_time_ns, 0, 0
        yield from _events(event.children)


def spare_the_machine() -> None:
    """Let allocations beyond nine tenths of the memory fail, on Linux.

    A contender that wants more is then reported as one that does not run; the system would end the process instead.
    """
    if sys.platform == "linux":
        import resource

        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
