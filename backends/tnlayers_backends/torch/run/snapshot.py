"""Snapshots: copies of a layer's cores, and an exact test whether the cores still have the same contents.

No counter sees every write. Fused optimizers, `.data`, numpy views, collectives and other processes change memory that
torch counts no version for. So what inference caches is guarded by the contents of the cores: they are compared byte by
byte, by `memcmp`. It is exact, and it was the fastest of what was measured on one core (AMD EPYC, torch 2.13): 4 cores
of 14,848 entries in all took 5 us, 35,000 entries 5 us, 1.1 million 170 us, where `torch.equal` took 16, 30 and 1040 us
and an integer dot product 21, 14 and 440 us.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def _memcmp() -> Any:
    library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    function = library.memcmp
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = ctypes.c_int
    return function


_differ = _memcmp()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Cores as they were at one moment.

    Attributes:
        cores: A copy of each core with the same strides, or an alias where the contents do not matter.
        places: Of each core, an alias, its address, the copy's address and the bytes to compare. The alias keeps the
            memory from being given to others, and says whether the core is the same view of the same memory.
    """

    cores: tuple[Tensor, ...]
    places: tuple[tuple[Tensor, int, int, int], ...]

    def of(self, cores: Sequence[Tensor]) -> bool:
        """Whether these cores are the same views of the same memory with the same contents."""
        if len(cores) != len(self.places):
            return False
        try:
            for core, (alias, address, copy, size) in zip(cores, self.places, strict=True):
                if not core.is_set_to(alias) or core.data_ptr() != address or _differ(address, copy, size):
                    return False
        except RuntimeError:  # a stand-in of `torch.func` has no memory of its own
            return False
        return True


def snapshot(cores: Sequence[Tensor]) -> Snapshot | None:
    """Copy the cores, for matrices made from them.

    Returns:
        The snapshot; None for cores whose contents cannot be compared at once: on a GPU, where reading them waits for
        all work before, and views with gaps.
    """
    copies, places = [], []
    for core in cores:
        plain = core.detach()
        if plain.device.type != "cpu" or plain.layout is not torch.strided or plain.is_conj() or plain.is_neg():
            return None
        copy = plain.clone()
        if copy.stride() != plain.stride():
            return None
        copies.append(copy)
        places.append((plain, plain.data_ptr(), copy.data_ptr(), copy.nbytes))
    return Snapshot(tuple(copies), tuple(places))


def aliases(cores: Sequence[Tensor]) -> Snapshot | None:
    """The memory of the cores alone, for matrices that are views of it and show every write.

    Returns:
        The snapshot; None for cores that have no memory of their own, and complex ones, which have a bit beside it.
    """
    plain = tuple(core.detach() for core in cores)
    if any(one.layout is not torch.strided or one.is_meta or one.is_complex() for one in plain):
        return None
    return Snapshot(plain, tuple((one, one.data_ptr(), one.data_ptr(), 0) for one in plain))
