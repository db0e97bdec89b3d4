"""`TNEmbedding`: a drop-in replacement for `torch.nn.Embedding` whose table is a tensor network."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.decompose.sizes import BondDim
from tnlayers.errors import TNLayersWarning
from tnlayers_backends.torch.layers.from_dense import converted
from tnlayers_backends.torch.layers.ordinary import expect
from tnlayers_backends.torch.layers.table import TNTable, check_options
from tnlayers_backends.torch.run.inputs import check_tensors


class TNEmbedding(TNTable):
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
        check_options(type(self).__name__, max_norm, scale_grad_by_freq, sparse)
        own = {"in_modes": in_modes, "out_modes": out_modes} | keywords
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, norm_type, unique, network, device, dtype, seed, **own
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Rows for ids of any shape."""
        check_tensors(self, ids=ids)
        return self._looked_up(ids).reshape(*ids.shape, self.embedding_dim)

    @classmethod
    @torch.no_grad()
    def from_embedding(
        cls,
        dense: nn.Embedding,
        network: str | Spec = "mpo",
        *,
        bond_dim: BondDim | None = None,
        max_params: int | None = None,
        ratio: float | None = None,
        error: float | None = None,
        strict: bool = False,
        unique: bool = False,
        **keywords: Any,
    ) -> Self:
        """The embedding that comes closest to a dense one within a budget or an error; the dense one stays as it is.

        `layer.delivered` reports what came of it. `padding_idx` is kept; its row reads as zero here: a
        warning where the dense table has something else there.

        Args:
            dense: The embedding whose table is taken.
            network: A network type or a template.
            bond_dim: The size of every bond, or one per bond; "vbmf" for the singular values above the noise.
            max_params: At most so many parameters in all cores.
            ratio: At most this share of the table's parameters.
            error: At most this relative error of the table, ||W - W'|| / ||W||; 0 keeps all of it.
            strict: Refuse a budget that is met only more than 2 % below it.
            unique: As in `TNEmbedding`.
            **keywords: `covariance`, `search` (of shapes), `sweeps`, `restarts` and `seed` as `decompose` takes
                them; the network type's own, and `cores`, `in_modes`, `out_modes`.

        Raises:
            TNLayersError: As `tnlayers.compress.decompose`; or `dense` is no `nn.Embedding`, or has options that are
                not offered here.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> dense = torch.nn.Embedding(60, 16, padding_idx=0)
            >>> layer = tnl.nn.TNEmbedding.from_embedding(dense, error=0, cores=2)
            >>> torch.allclose(layer(torch.arange(60)), dense.weight, atol=1e-5)
            True
        """
        dense = expect(dense, nn.Embedding, "from_embedding")
        check_options(cls.__name__, dense.max_norm, dense.scale_grad_by_freq, dense.sparse)
        table = _table(dense)
        asked = {"bond_dim": bond_dim, "max_params": max_params, "ratio": ratio, "error": error, "strict": strict}
        sizes = (dense.num_embeddings, dense.embedding_dim, dense.padding_idx)
        make = partial(cls, *sizes, unique=unique)
        return converted(make, table.mT, None, partial(make_spec, network), asked | keywords)

    @torch.no_grad()
    def to_embedding(self) -> nn.Embedding:
        """An `nn.Embedding` that gives the same rows, with parameters of its own."""
        table = self.to_dense()
        dense = nn.Embedding(
            self.num_embeddings, self.embedding_dim, self.padding_idx, device=table.device, dtype=table.dtype
        )
        dense.weight.copy_(table)
        return dense


def _table(dense: nn.Embedding) -> Tensor:
    """A copy of the table whose padding row is zero, as it reads here; a warning where it was not."""
    table = dense.weight.detach().clone()
    if dense.padding_idx is not None:
        if table[dense.padding_idx].count_nonzero():
            warnings.warn(
                f"Row {dense.padding_idx} of this embedding is its padding_idx but not zero; it reads as zero now. "
                "Where ids of padding are looked at, set padding_idx=None on the dense layer first.",
                TNLayersWarning,
                stacklevel=4,
            )
        table[dense.padding_idx] = 0
    return table
