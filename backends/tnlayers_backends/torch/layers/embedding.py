"""`TNEmbedding`: a drop-in replacement for `torch.nn.Embedding` whose table is a tensor network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.lookup import LookupMap, transposed
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import Plan
from tnlayers.program.program import Array
from tnlayers_backends.torch.layers.cores import TRACED_BATCH
from tnlayers_backends.torch.layers.embedding_dense import DenseEmbedding, check_options
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.run.frozen import Frozen
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS
from tnlayers_backends.torch.run.rows import check_range, operands

_TABLE = "table"


class TNEmbedding(DenseEmbedding):
    """An embedding whose table is a tensor network: rows are looked up through the cores, the table is never built.

    Args:
        num_embeddings: How many rows the table has; ids are 0 to num_embeddings - 1.
        embedding_dim: Size of each row.
        padding_idx: An id whose row is zero and gives no gradient, or None; a negative one counts from the end.
        max_norm: Not offered: it rewrites rows, and no row is a parameter of its own.
        norm_type: Belongs to `max_norm`.
        scale_grad_by_freq: Not offered: cores have no gradient per row.
        sparse: Not offered: every id has a gradient in every core.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type, a template, or a sized spec of in_features=num_embeddings, out_features=embedding_dim.
        in_modes: Modes of the ids, if they are not to be chosen.
        out_modes: Modes of the rows, likewise.
        unique: Whether to look each id up once where it occurs several times in the input. That costs a sort, and
            needs the ids' values, so traced code leaves it out.
        seed: Draws the parameters; None takes torch's global generator.
        **keywords: The network type's own, such as `bond_dim`, and `cores`.

    Shape:
        Input: int32 or int64 ids of any shape (...); output (..., embedding_dim).

    Raises:
        TNLayersError: If an option is not offered, or an id is out of range (checked on CPU, not in traced code).

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNEmbedding(50_000, 512, network="mpo(cores=3, bond=16)", seed=0)
        >>> layer(torch.tensor([[0, 49_999, 7]])).shape
        torch.Size([1, 3, 512])
        >>> sum(p.numel() for p in layer.parameters()) / (50_000 * 512) < 0.005
        True
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        unique: bool = False,
        seed: int | None = None,
        **keywords: Any,
    ) -> None:
        check_options(max_norm, scale_grad_by_freq, sparse)
        given = {"in_modes": in_modes, "out_modes": out_modes} | keywords
        asked = {key: value for key, value in given.items() if value is not None}
        spec = make_spec(network, num_embeddings, embedding_dim, **asked)
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

    def forward(self, ids: Tensor) -> Tensor:
        """Rows for ids of any shape."""
        check_tensors(self, ids=ids)
        if ids.dtype not in (torch.int64, torch.int32):
            raise TNLayersError(f"Ids are int64 or int32 numbers, got {ids.dtype} of shape {tuple(ids.shape)}.")
        flat = ids.reshape(-1).long()
        recorded = is_recorded(ids)
        if not recorded and flat.device.type == "cpu":
            check_range(flat, self.num_embeddings)
        if self.unique and not recorded:
            distinct, back = torch.unique(flat, return_inverse=True)
            rows = self._rows(distinct, recorded).index_select(0, back)
        else:
            rows = self._rows(flat, recorded)
        return rows.reshape(*ids.shape, self.embedding_dim)

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
        table = self._table(ids, recorded)
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

    def _table(self, ids: Tensor, recorded: bool) -> Tensor | None:
        """The whole table, where the layer is frozen and may cache it."""
        if recorded:
            compiled = self._compiled()
            return None if compiled is None else compiled[0]
        frozen = self._serving(ids)
        return frozen.once(_TABLE, list)[0] if frozen is not None and frozen.has(_TABLE) else None

    def _prepare_frozen(self, frozen: Frozen) -> None:
        frozen.linear(self._decoder).prepare_compiled(self._decoder.plan_for(TRACED_BATCH))
        core = frozen.cores()[0]
        if self.num_embeddings * self.embedding_dim * core.itemsize <= frozen.budget.left:
            frozen.compiled = frozen.once(_TABLE, lambda: (self.to_dense(),))

    def _look_up(self, ids: Tensor, cores: Sequence[Tensor], plans: Sequence[Plan]) -> Tensor:
        total: Tensor | None = None
        parts = zip(plans, self._map.graphs, self._lookup.slices, self._map.split(cores), strict=True)
        for plan, graph, cut, own in parts:
            rows: Array = plan.program.run(OPS, operands(ids, graph, cut, own))
            rows = rows.reshape(ids.shape[0], prod(graph.out_modes))[:, : self.embedding_dim]
            total = rows if total is None else total + rows
        assert total is not None
        return total

    def _sizes_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
