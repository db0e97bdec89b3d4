"""`TNEmbedding`: a drop-in replacement for `torch.nn.Embedding` whose table is a tensor network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.spec import Spec
from tnlayers_backends.torch.layers.embedding_dense import DenseEmbedding
from tnlayers_backends.torch.layers.table import check_options
from tnlayers_backends.torch.run.inputs import check_tensors


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
        unique: Whether to look each id up once where it stands several times in the input. That costs a sort, and
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
        check_options(type(self).__name__, max_norm, scale_grad_by_freq, sparse)
        own = {"in_modes": in_modes, "out_modes": out_modes} | keywords
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, norm_type, unique, network, device, dtype, seed, **own
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Rows for ids of any shape."""
        check_tensors(self, ids=ids)
        return self._looked_up(ids).reshape(*ids.shape, self.embedding_dim)
