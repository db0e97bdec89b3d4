"""Tables of rows as tensor networks, looked up through the cores: what embeddings and bags of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.lookup import LookupMap, transposed
from tnlayers.cores.rows import look_up
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers_backends.torch.layers.cores import TRACED_BATCH
from tnlayers_backends.torch.layers.exported import ExportedCores
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.run.frozen import Frozen
from tnlayers_backends.torch.run.primitives import OPS


class TNTable(ExportedCores):
    """A layer whose weight is a table of rows, looked up by ids; abstract: a layer kind adds `forward`.

    Args:
        num_embeddings: How many rows the table has.
        embedding_dim: Size of each row.
        padding_idx: An id whose row is zero and gives no gradient, or None.
        norm_type: Kept as an attribute, as torch's embeddings have it.
        unique: Whether to look each id up once.
        network: A network type, a template, or a sized spec.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        seed: Draws the parameters.
        **keywords: Modes, and the network type's own.

    Raises:
        TNLayersError: If the declaration has a bias, or `padding_idx` is no id.
    """

    # As `nn.Embedding` has them; given here too so that no core can take one of these names.
    padding_idx: int | None = None
    max_norm: None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False
    unique: bool = False

    def _variance(self) -> float:
        """Rows of `nn.Embedding` are standard normal."""
        return 1.0

    @property
    def num_embeddings(self) -> int:
        """How many rows the table has."""
        return self.spec.in_features

    @property
    def embedding_dim(self) -> int:
        """Size of each row."""
        return self.spec.out_features

    def to_dense(self) -> Tensor:
        """The table of shape (num_embeddings, embedding_dim), differentiable; the row of `padding_idx` is zero."""
        table = super().to_dense().mT.contiguous()
        if self.padding_idx is None:
            return table
        rows = torch.arange(self.num_embeddings, device=table.device)
        return table.masked_fill((rows == self.padding_idx)[:, None], 0.0)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        norm_type: float,
        unique: bool,
        network: str | Spec,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        seed: int | None,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, num_embeddings, embedding_dim, **keywords)
        if spec.bias:
            raise TNLayersError(f"{spec} has a bias, and an embedding has none: leave bias out.")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise TNLayersError(f"padding_idx={padding_idx} is no id: the table has {num_embeddings} rows.")
        super().__init__(spec, device, dtype, seed, linear=False)
        self._set_map(self._map)
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.norm_type, self.unique = norm_type, unique

    def _set_map(self, changed: LinearMap) -> None:
        super()._set_map(changed)
        self._lookup = LookupMap(changed)
        self._decoder = transposed(changed, buckets=(TRACED_BATCH,))
        # What traced code will run is planned here, since planning cannot be traced.
        self._lookup.plans_for(TRACED_BATCH)
        changed.weight_plan(0)

    def norm2(self) -> Tensor:
        """The sum of the squared entries of the table, exact and differentiable; the row of `padding_idx` is zero."""
        if self.padding_idx is None:
            return super().norm2()
        ids = torch.tensor([self.padding_idx], device=next(self.parameters()).device)
        row = self._look_up(ids, list(self.cores.values()), self._lookup.plans_for(1))
        return super().norm2() - row.abs().square().sum()

    def plan_for(self, ids: int, objective: Objective = "forward") -> tuple[Plan, ...]:
        """The plan that looks up that many ids, one per network of a sum."""
        return self._lookup.plans_for(ids, objective)

    def _looked_up(self, ids: Tensor) -> Tensor:
        """Rows (n, embedding_dim) for ids of any shape.

        Raises:
            TNLayersError: If they are no ids, or out of range (on a CPU, and not in traced code).
        """
        if ids.dtype not in (torch.int64, torch.int32):
            raise TNLayersError(f"Ids are int64 or int32 numbers, got {ids.dtype} of shape {tuple(ids.shape)}.")
        flat = ids.reshape(-1).long()
        recorded = is_recorded(ids)
        if not recorded and flat.device.type == "cpu":
            OPS.check_ids(flat, self.num_embeddings)
        if self.unique and not recorded:
            distinct, back = torch.unique(flat, return_inverse=True)
            return self._rows(distinct, recorded).index_select(0, back)
        return self._rows(flat, recorded)

    def decode(self, h: Tensor) -> Tensor:
        """The scores of all rows, h W^T of shape (..., num_embeddings): a tied decoder that builds no table.

        The row of `padding_idx` is zero, and so is its score.

        Args:
            h: Vectors of shape (..., embedding_dim).
        """
        scores = self._apply_map(h, linear=self._decoder)
        if self.padding_idx is None:
            return scores
        rows = torch.arange(self.num_embeddings, device=scores.device)
        return scores.masked_fill(rows == self.padding_idx, 0.0)

    def _rows(self, ids: Tensor, recorded: bool) -> Tensor:
        """Rows for a vector of ids."""
        table = self._frozen_dense(ids, recorded)
        if table is not None:
            return functional.embedding(ids, table)
        if recorded:
            plans = self._lookup.plans_for(TRACED_BATCH)
        else:
            plans = self._lookup.plans_for(ids.shape[0], "training" if torch.is_grad_enabled() else "forward")
        rows = self._contract(lambda ids, cores: self._look_up(ids, cores, plans), ids)
        if self.padding_idx is None:
            return rows
        return rows.masked_fill((ids == self.padding_idx)[:, None], 0.0)

    def _prepare_frozen(self, frozen: Frozen) -> None:
        frozen.linear(self._decoder).prepare_compiled(self._decoder.plan_for(TRACED_BATCH))
        self._prepare_dense(frozen)

    def _look_up(self, ids: Tensor, cores: Sequence[Tensor], plans: Sequence[Plan]) -> Tensor:
        rows: Tensor = look_up(OPS, self._lookup, ids, cores, plans)
        return rows

    def _sizes_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def check_options(layer: str, max_norm: float | None, scale_grad_by_freq: bool, sparse: bool) -> None:
    """Refuse what torch's embeddings offer and a table of cores cannot.

    Raises:
        TNLayersError: With the reason.
    """
    for name, value, why in (
        ("max_norm", max_norm, "it rewrites rows, and no row is a parameter of its own; normalise the rows looked up"),
        ("scale_grad_by_freq", scale_grad_by_freq or None, "cores have no gradient per row; scale the loss instead"),
        ("sparse", sparse or None, "every id has a gradient in every core; leave it out, the cores are small"),
    ):
        if value is not None:
            raise TNLayersError(f"{name}={value!r} is not offered by {layer}: {why}.")
