"""What inference caches: matrices prepared from the cores, valid exactly as long as the cores have the same contents.

A plan for inference expects everything that does not depend on the input to be there: cores merged and laid out, or the
whole weight where that is fastest. It is prepared at the first call, from a copy of the cores (`snapshot.py`), and used
while the cores equal that copy byte by byte. Since the matrices belong to the copy and not to the cores, a write by
another thread in the middle of preparing cannot leave wrong matrices behind.

Only cores on a processor are compared. On a GPU nothing is cached implicitly; `layer.freeze()` caches there, and saves
the comparison here (`frozen.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.planning.plan import Plan
from tnlayers.pricing.limits import PREPARED_LIMIT
from tnlayers.program.chain import Link
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.snapshot import Snapshot, aliases, snapshot

# Entries from which on W is cached as `nn.Linear` lays it out, (out, in). Measured with MKL on one thread, products
# x @ W with W as (in, out) took 1.25 to 1.44 times the time with 32 or 128 rows of x from 2048 x 4096 upwards, 1.05 to
# 1.26 times it with 128 rows from 1024 x 1024 on, and 0.75 to 1.0 times with 32; with 1024 rows there is no difference.
_COLUMNS_FROM = 2**20


@dataclass(frozen=True, slots=True)
class PreparedMatrices:
    """The matrices of one network, and what they were made from.

    Attributes:
        plan: The plan whose matrices these are.
        matrices: The prepared matrices.
        source: The cores as they were; None where a promise takes the place of the comparison (`frozen.py`).
        autocast: The dtype of autocast at the time; None where it was off.
        bound_calls: What inference does with these matrices, by the shape of its input (`bound_call.py`).
    """

    plan: Plan
    matrices: list[Tensor]
    source: Snapshot | None
    autocast: torch.dtype | None
    bound_calls: dict[torch.Size, Any] = field(default_factory=dict)

    def made_of(self, cores: Sequence[Tensor]) -> bool:
        """Whether these are the matrices of the cores as they are now, under autocast as it is now."""
        return self.source is not None and self.source.of(cores) and self.autocast is autocast_of(cores[0])


class Prepared:
    """The prepared matrices of one layer: one set per network. Copies and pickles of it are empty."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], PreparedMatrices] = {}

    def only(self, cores: Sequence[Tensor]) -> PreparedMatrices | None:
        """What is cached of the one network that a layer has, if it was made from these cores as they are now."""
        found = next(iter(self._kept.values()), None)
        return found if found is not None and found.made_of(cores) else None

    def matrices(self, plan: Plan, cores: Sequence[Tensor]) -> list[Tensor]:
        """The matrices of a plan, made anew if a core has changed; cached unless they exceed `PREPARED_LIMIT` bytes."""
        name = plan.contraction.names
        found = self._kept.get(name)
        if found is not None and alike(found.plan, plan) and found.made_of(cores):
            return found.matrices
        source = _source(plan, cores)
        if source is None:
            self._kept.pop(name, None)
            return prepare(plan, cores)
        made = PreparedMatrices(plan, laid_out(plan, prepare(plan, source.cores)), source, autocast_of(cores[0]))
        self._kept = {**self._kept, name: made}  # a new dictionary: other threads read the old one
        return made.matrices

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices cached at the moment, views of cores not counted."""
        return sum(kept.plan.prepared for kept in self._kept.values())

    def clear(self) -> None:
        """Let go of everything."""
        self._kept = {}

    def __deepcopy__(self, memo: Any) -> Prepared:
        return Prepared()

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        return Prepared, ()


def _source(plan: Plan, cores: Sequence[Tensor]) -> Snapshot | None:
    """What a plan's matrices are made from if they are cached: copies, unless they are views of the cores."""
    if plan.prepared == 0:
        return aliases(cores)
    return snapshot(cores) if plan.prepared <= PREPARED_LIMIT else None


def keepable(cores: Sequence[Tensor]) -> bool:
    """Whether these are a layer's own parameters, not stand-ins of a functional call or a parametrisation."""
    return {*map(type, cores)} == {nn.Parameter}


def prepare(plan: Plan, cores: Sequence[Tensor]) -> list[Tensor]:
    """The matrices of a plan, from its cores."""
    assert plan.sweep is not None
    return plan.sweep.chain.prepare(OPS, plan.program, cores)


def laid_out(plan: Plan, matrices: Sequence[Tensor]) -> list[Tensor]:
    """Matrices that are cached, with their columns in a row where products with them are faster so."""
    assert plan.sweep is not None
    operands = plan.program.operands
    return [_columns(m, link, operands) for m, link in zip(matrices, plan.sweep.chain.links, strict=True)]


def _columns(matrix: Tensor, link: Link, operands: int) -> Tensor:
    is_core = link.core[0] < operands
    if is_core or not link.state_left or matrix.dim() != 2 or matrix.numel() < _COLUMNS_FROM or matrix.is_cuda:
        return matrix
    return matrix.T.contiguous().T


def autocast_of(tensor: Tensor) -> torch.dtype | None:
    """The dtype that autocast has on a tensor's device at the moment; None where it is off, or there is none."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def alike(plan: Plan, other: Plan) -> bool:
    """Whether two plans prepare the same matrices: those for other batch sizes often do."""
    if plan is other:
        return True
    if plan.sweep is None or other.sweep is None or len(plan.sweep.chain.links) != len(other.sweep.chain.links):
        return False
    return recipe(plan) == recipe(other)


def recipe(plan: Plan) -> tuple[Any, ...]:
    """What a plan makes of the cores before any input is there: steps without a batch, and views of their results."""
    assert plan.sweep is not None
    chain = plan.sweep.chain
    return tuple(plan.program.steps[k] for k in chain.prepared), tuple(link.core for link in chain.links)
