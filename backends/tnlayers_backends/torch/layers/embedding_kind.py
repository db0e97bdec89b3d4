"""Embeddings as a kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.declare.spec import Spec
from tnlayers.pricing.counts import NOTHING, Cost
from tnlayers_backends.torch.layers.embedding import TNEmbedding
from tnlayers_backends.torch.layers.kind import LayerKind, Work
from tnlayers_backends.torch.layers.moments import wide


class EmbeddingKind(LayerKind):
    """Rows of a table by ids: one-hot vectors, never built, times the table."""

    def build(self, spec: Spec, **keywords: Any) -> TNEmbedding:
        return TNEmbedding(spec.in_features, spec.out_features, network=spec, **keywords)

    def from_dense(self, dense: nn.Embedding, network: str | Spec, **asked: Any) -> TNEmbedding:
        return TNEmbedding.from_embedding(dense, network, **asked)

    def to_dense(self, layer: TNEmbedding) -> nn.Embedding:
        return layer.to_embedding()

    def plain(self, dense: nn.Embedding) -> nn.Module:
        """Without its padding_idx where that row is not zero: as a network's it would read as zero."""
        weight, padding = dense.weight, dense.padding_idx
        if padding is None or weight.is_meta or not weight[padding].count_nonzero():
            return dense
        table = nn.Embedding(dense.num_embeddings, dense.embedding_dim, device="meta")
        table.weight = nn.Parameter(weight.detach(), weight.requires_grad)
        return table

    def reason_against(self, dense: nn.Embedding) -> str:
        used = [name for name in ("max_norm", "scale_grad_by_freq", "sparse") if getattr(dense, name)]
        return f"an embedding with {used[0]}" if used else ""

    def reason_against_delta(self, dense: nn.Embedding) -> str:
        if dense.max_norm is None:
            return ""
        return (
            f"TNAdapter on an nn.{self.stands_for.__name__} with max_norm={dense.max_norm}: it rewrites rows of the "
            "frozen table, and the norm would be that of the table, not of what is looked up. Normalise the rows that "
            "come out."
        )

    def work(self, dense: nn.Module, given: Tensor) -> Work:
        return Work(count=given.numel())

    def pairs(self, layer: TNEmbedding, given: Tensor, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids and rows; the row of a padding id is zero whatever the cores are, and is left out."""
        ids, rows = given.reshape(-1), wide(outputs).reshape(-1, layer.embedding_dim)
        met = ids != layer.padding_idx if layer.padding_idx is not None else torch.ones_like(ids, dtype=torch.bool)
        yield ids[met].long(), rows[met]

    def cost(self, layer: TNEmbedding, work: Work) -> Cost:
        return sum((plan.cost for plan in layer.plan_for(work.count)), NOTHING)

    def dense_cost(self, dense: nn.Module, work: Work) -> Cost:
        """Rows of a dense table are copied, not computed."""
        return NOTHING


EMBEDDING = EmbeddingKind(
    classes=(TNEmbedding,),
    replaces=nn.Embedding,
    keywords=("padding_idx", "unique"),
    missing={"unique": False},
    sizes=("num_embeddings", "embedding_dim"),
    options=("padding_idx", "max_norm"),
    turned=True,
    one_hot=True,
    searched=True,
)
