"""Forms of tables whose rows are looked up by ids: embeddings and bags of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from tnlayers.cores.bags import BagMode, check_bags, reduced
from tnlayers.cores.lookup import LookupMap
from tnlayers.cores.rows import look_up
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Runtime
from tnlayers.forms.networked import Networked
from tnlayers.program.program import Array


@dataclass(frozen=True)
class Embedding(Networked):
    """Ids (...) to rows (..., embedding_dim); the table is never built.

    Attributes:
        padding_idx: An id whose row is zero, or None.
        unique: Kept for torch, which looks each id up once where this is set; nothing here depends on it.
    """

    kind = "embedding"
    takes: ClassVar[tuple[str, ...]] = ("ids",)
    padding_idx: int | None = None
    unique: bool = False
    _table: LookupMap = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.spec.bias:
            raise TNLayersError(f"{str(self.spec)[:200]} has a bias, and an embedding has none: leave bias out.")
        object.__setattr__(self, "_table", LookupMap(self.map))

    @property
    def variance(self) -> float:
        """Rows of fresh embeddings are of variance 1."""
        return 1.0

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Look rows up."""
        (ids,) = self.arguments(inputs, options)
        rows = self._rows(at, arrays, ids)
        return at.ops.reshape(rows, (*ids.shape, self.spec.out_features))

    def _rows(self, at: Runtime, arrays: Mapping[str, Array], ids: Array) -> Array:
        if (kind := str(ids.dtype)) not in ("int64", "int32"):
            raise TNLayersError(f"Ids are int64 or int32 numbers, got {kind} of shape {tuple(ids.shape)}.")
        flat = at.ops.check_ids(at.ops.reshape(ids, (-1,)), self.spec.in_features)
        plans = self._table.plans_for(at.count(ids.shape), at.objective)
        rows = look_up(at.ops, self._table, flat, self.cores(arrays), plans)
        if self.padding_idx is None:
            return rows
        return at.ops.where((flat == self.padding_idx)[:, None], at.ops.zeros((), rows), rows)

    def weight(self, ops: Any, cores: Sequence[Array]) -> Array:
        """The table, (num_embeddings, embedding_dim); the row of padding is zero."""
        table = ops.permute(super().weight(ops, cores), (1, 0))
        if self.padding_idx is None:
            return table
        rows = ops.numbers(range(self.spec.in_features), table)
        return ops.where((rows == self.padding_idx)[:, None], ops.zeros((), table), table)


@dataclass(frozen=True)
class EmbeddingBag(Embedding):
    """Bags of ids, (bags, ids of each) or (n,) with offsets, to sums, means or maxima of rows (bags, embedding_dim)."""

    kind = "embedding_bag"
    takes = ("input", "offsets", "per_sample_weights")
    defaults = MappingProxyType({"offsets": None, "per_sample_weights": None})
    mode: BagMode = "mean"
    include_last_offset: bool = False

    def apply(self, at: Runtime, arrays: Mapping[str, Array], *inputs: Any, **options: Any) -> Any:
        """Reduce the rows of every bag: `(ids, offsets=None, per_sample_weights=None)`."""
        ids, offsets, weights = self.arguments(inputs, options)
        check_bags("This bag of embeddings", ids, offsets, weights, self.mode)
        if str(next(iter(arrays.values())).dtype).startswith("complex"):
            raise TNLayersError("Bags of complex rows are not reduced: torch, whose module this stands for, refuses.")
        rows = self._rows(at, arrays, ids)
        n = rows.shape[0]
        if offsets is None:
            count, size = ids.shape
            bags = at.ops.numbers(range(n), ids) // max(size, 1)
        else:
            starts = offsets[:-1] if self.include_last_offset else offsets
            count = starts.shape[0]
            bags = at.ops.bags_of(starts, n)
        flat = at.ops.reshape(ids, (-1,))
        factors = None if weights is None else at.ops.reshape(weights, (-1,))
        return reduced(at.ops, rows, flat, bags, count, self.mode, factors, self.padding_idx)
