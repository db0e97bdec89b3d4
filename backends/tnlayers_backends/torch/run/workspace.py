"""Memory: one flat buffer per thread, device, dtype and inference mode, in which chunks of a batch are processed.

Touching new memory costs more than the arithmetic of a small product, so chunks run in memory that is used again by
every call and every layer. A buffer is never returned and never saved for backward: whoever takes it is done with it
before the next one in the same thread takes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from tnlayers.program.preparing import MOST_BYTES
from tnlayers.program.sweep import Place
from tnlayers_backends.torch.run import leased

HALVES = (torch.float16, torch.bfloat16)


class _Kept(threading.local):
    """The buffers of one thread."""

    def __init__(self) -> None:
        self.buffers: dict[Hashable, Tensor] = {}


_KEPT = _Kept()


def buffer(entries: int, like: Tensor) -> Tensor:
    """A flat buffer of at least so many entries, of the dtype and on the device of `like`, whatever it contains."""
    stream = None
    if like.is_cuda:
        if torch.cuda.is_current_stream_capturing():  # memory born in a capture belongs to the captured graph
            return like.new_empty(entries)
        stream = torch.cuda.current_stream(like.device)
    # A buffer born in inference mode may not be written to outside it.
    key = (like.device, like.dtype, torch.is_inference_mode_enabled(), stream)
    found = _KEPT.buffers.get(key)
    if found is None or found.numel() < entries:
        found = None  # the smaller one goes first: both together would be the most that a step has in use
        _KEPT.buffers.pop(key, None)
        found = torch.empty(entries, dtype=like.dtype, device=like.device)
        if found.nbytes <= MOST_BYTES:
            _KEPT.buffers[key] = found
    return found


def total_like(matrix: Tensor) -> Tensor:
    """Where the gradient of a matrix is added up: sums over many chunks are kept in single precision at least."""
    return torch.zeros_like(matrix, dtype=torch.float32 if matrix.dtype in HALVES else None)


def release() -> None:
    """Let go of the buffers of this thread and of leased memory that waits; the next call makes new ones."""
    _KEPT.buffers.clear()
    leased.release()


class Rows:
    """A buffer divided for some rows: places are given in entries per row. One serves all chunks of a call."""

    def __init__(self, memory: Tensor, rows: int) -> None:
        self.memory = memory
        self.rows = rows
        self._seen: dict[Hashable, Any] = {}

    def take(self, place: Place) -> Tensor:
        """The flat part of the buffer that a place means."""
        start, entries = place
        return self.memory.narrow(0, start * self.rows, entries * self.rows)

    def once(self, key: Hashable, make: Callable[..., Any], *args: Any) -> Any:
        """A view that is the same for every chunk; views cost as much as small products."""
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = make(*args)
        return found


def chunks(memory: Tensor, chunk: int, count: int) -> Iterator[tuple[slice, Rows]]:
    """Rows in chunks, each with the buffer divided for it.

    Args:
        memory: The buffer.
        chunk: Rows at a time.
        count: Rows in all.
    """
    space = Rows(memory, min(chunk, count))
    for start in range(0, count, chunk):
        if count - start < space.rows:
            space = Rows(memory, count - start)
        yield slice(start, start + chunk), space
