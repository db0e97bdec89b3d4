"""Memory that lasts from a forward pass to its backward pass, and is used again by the next step of training.

Touching new memory takes longer than writing what is there, and large arrays that are freed go back to the operating
system. So what was freed is used again: a tensor of leased memory owns it as any tensor owns its own, whoever saves it,
and when the last of its views goes, the memory waits here for the next that asks for as much.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tnlayers.program.preparing import MOST_BYTES

_ALIGNED = 64  # bytes: a cache line, and the width of a vector


class _Waiting:
    """Memory that nobody uses, at most `MOST_BYTES` of it.

    The garbage collector may end a lease at any moment, in the middle of `take` too. So nobody waits for the lock: who
    does not get it makes new memory, or lets go of the old.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pieces: list[npt.NDArray[np.uint8]] = []

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """A piece of so many bytes, whatever it contains."""
        if self.lock.acquire(blocking=False):
            try:
                for k in reversed(range(len(self.pieces))):  # the last one is likely to be in the cache
                    if self.pieces[k].size == size:
                        return self.pieces.pop(k)
            finally:
                self.lock.release()
        made = np.empty(size + _ALIGNED, np.uint8)
        start = -made.ctypes.data % _ALIGNED
        return made[start : start + size]

    def give(self, piece: npt.NDArray[np.uint8]) -> None:
        """A piece that is no longer used; of too many the oldest goes."""
        if piece.size <= MOST_BYTES and self.lock.acquire(blocking=False):
            try:
                self.pieces.append(piece)
                while sum(each.size for each in self.pieces) > MOST_BYTES:
                    del self.pieces[0]
            finally:
                self.lock.release()

    def clear(self) -> None:
        """Let go of all of it."""
        with self.lock:
            self.pieces.clear()


_WAITING = _Waiting()


class _Lease(np.ndarray[Any, np.dtype[np.uint8]]):
    """A view of a piece that gives it back when it ends; tensors made of it hold it."""

    piece: npt.NDArray[np.uint8] | None = None

    def __del__(self) -> None:
        if self.piece is not None:
            _WAITING.give(self.piece)


def lease(entries: int, like: Tensor) -> Tensor:
    """A flat tensor of so many entries, of the dtype and on the device of `like`, whatever it contains.

    Elsewhere than on a processor torch's own allocator uses memory again.
    """
    if like.device.type != "cpu" or entries == 0:
        return like.new_empty(entries)
    piece = _WAITING.take(entries * like.element_size())
    view = piece.view(_Lease)
    view.piece = piece
    return torch.from_numpy(view).view(like.dtype)


def release() -> None:
    """Let go of all memory that waits."""
    _WAITING.clear()
