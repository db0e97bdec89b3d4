"""What inference keeps: matrices prepared from the cores, as long as the cores have not changed.

A plan for inference takes it that everything that does not depend on the input is at hand: cores merged and laid out,
or the whole weight where that is fastest. It is made at the first call and kept while every core is the same tensor in
the same memory with the same version, which torch counts up with every change in place: optimizer steps,
`load_state_dict`, `copy_`, moves to another device or dtype are all seen. Changes through `.data` in the same memory,
and by other processes, are not: call `layer.invalidate()` after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from tnlayers.planning.plan import Plan
from tnlayers.pricing.limits import PREPARED_LIMIT
from tnlayers.program.chain import Link
from tnlayers_backends.torch.run.primitives import OPS

# Entries from which on a kept W is laid out as `nn.Linear` has it, (out, in). Measured with MKL on one thread, products
# x @ W with W as (in, out) took 1.25 to 1.44 times the time with 32 or 128 rows of x from 2048 x 4096 upwards, 1.05 to
# 1.26 times it with 128 rows from 1024 x 1024 on, and 0.75 to 1.0 times with 32; with 1024 rows there is no difference.
_COLUMNS_FROM = 2**20


@dataclass(frozen=True, slots=True)
class Kept:
    """The matrices of one network, and what they were made from.

    Attributes:
        plan: The plan whose matrices these are.
        matrices: The prepared matrices.
        cores: Each core, with its address and version at the time.
        aliases: Of the cores, so that their memory is not given to others, which would have the same address.
        device: The type of their device, which autocast is asked for; None where there is no autocast.
        autocast: The dtype of autocast at the time; None where it was off.
        walks: What inference does with these matrices, by the shape of its input (`bound_call.py`).
    """

    plan: Plan
    matrices: list[Tensor]
    cores: tuple[tuple[ref[Tensor], int, int], ...]
    aliases: tuple[Tensor, ...]
    device: str | None
    autocast: torch.dtype | None
    walks: dict[torch.Size, Any] = field(default_factory=dict)

    def made_of(self, cores: Sequence[Tensor]) -> bool:
        """Whether these are the cores that the matrices were made from, as they were then."""
        for core, (known, address, version) in zip(cores, self.cores, strict=False):
            if known() is not core or core.data_ptr() != address or core._version != version:
                return False
        return len(cores) == len(self.cores) and self.autocast is _autocast(self.device)


class Prepared:
    """The prepared matrices of one layer: one set per network. Copies and pickles of it are empty."""

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}

    def of(self, cores: Sequence[Tensor]) -> Kept | None:
        """What is kept of a network, if it was made from these cores as they are now."""
        found = self._kept.get(id(cores[0]))
        return found if found is not None and found.made_of(cores) else None

    def matrices(self, plan: Plan, cores: Sequence[Tensor]) -> list[Tensor]:
        """The matrices of a plan, made anew if a core has changed; kept unless they exceed `PREPARED_LIMIT` bytes."""
        assert plan.sweep is not None
        found = self.of(cores)
        if found is not None and alike(found.plan, plan):
            return found.matrices
        matrices: list[Tensor] = plan.sweep.chain.prepare(OPS, plan.program, cores)
        self._kept = {key: kept for key, kept in self._kept.items() if kept.cores[0][0]() is not None}
        if plan.prepared <= PREPARED_LIMIT:
            links = plan.sweep.chain.links
            matrices = [_laid_out(m, link, len(cores)) for m, link in zip(matrices, links, strict=True)]
            self._kept[id(cores[0])] = _made(plan, matrices, cores)
        else:
            self._kept.pop(id(cores[0]), None)
        return matrices

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices kept at the moment, views of cores not counted."""
        return sum(kept.plan.prepared for kept in self._kept.values())

    def clear(self) -> None:
        """Let go of everything."""
        self._kept = {}

    def __deepcopy__(self, memo: Any) -> Prepared:
        return Prepared()

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        return Prepared, ()


def keepable(cores: Sequence[Tensor]) -> bool:
    """Whether these are a layer's own parameters, not stand-ins of a functional call or a parametrisation."""
    return {*map(type, cores)} == {nn.Parameter} and not any(map(Tensor.is_inference, cores))


def _laid_out(matrix: Tensor, link: Link, cores: int) -> Tensor:
    """A matrix that is kept, with its columns in a row where products with it are faster so; cores stay as they are."""
    is_core = link.core[0] <= cores
    if is_core or not link.state_left or matrix.dim() != 2 or matrix.numel() < _COLUMNS_FROM or matrix.is_cuda:
        return matrix
    return matrix.T.contiguous().T


def _made(plan: Plan, matrices: list[Tensor], cores: Sequence[Tensor]) -> Kept:
    marks = tuple((ref(core), core.data_ptr(), core._version) for core in cores)
    kind = cores[0].device.type
    device = kind if torch.amp.is_autocast_available(kind) else None
    return Kept(plan, matrices, marks, tuple(core.detach() for core in cores), device, _autocast(device))


def _autocast(device: str | None) -> torch.dtype | None:
    if device is not None and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def alike(plan: Plan, other: Plan) -> bool:
    """Whether two plans prepare the same matrices: those for other batch sizes often do."""
    if plan is other:
        return True
    if plan.sweep is None or other.sweep is None or len(plan.sweep.chain.links) != len(other.sweep.chain.links):
        return False
    return _recipe(plan) == _recipe(other)


def _recipe(plan: Plan) -> tuple[Any, ...]:
    assert plan.sweep is not None
    chain = plan.sweep.chain
    return tuple(plan.program.steps[k] for k in chain.prepared), tuple(link.core for link in chain.links)
