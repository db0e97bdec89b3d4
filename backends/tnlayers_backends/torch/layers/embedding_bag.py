"""`TNEmbeddingBag`: a drop-in replacement for `torch.nn.EmbeddingBag` whose table is a tensor network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnlayers.cores.bags import BagMode, check_bags
from tnlayers.declare.arguments import checks_arguments, device, flag, floating, shown
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.embedding_kind import EmbeddingKind
from tnlayers_backends.torch.layers.from_dense import converted
from tnlayers_backends.torch.layers.kind import Work
from tnlayers_backends.torch.layers.moments import wide
from tnlayers_backends.torch.layers.ordinary import expect
from tnlayers_backends.torch.layers.table import TNTable, check_options
from tnlayers_backends.torch.run.inputs import check_tensors

Bags = tuple[Tensor, Tensor | None, Tensor | None]  # ids, offsets, weights of ids
_LARGEST_FIT = 4096  # rows of a table: least squares needs their second moment, of so many rows and columns


class TNEmbeddingBag(TNTable):
    """Sums, means or maxima of bags of rows of a table that is a tensor network; the table is never built.

    The rows of all ids are looked up through the cores, and torch's own reduction takes them together bag by bag, so
    empty bags, padding and weights of ids mean what they mean in torch. As there, gradients of gradients are not
    offered.

    Args:
        num_embeddings: How many rows the table has; ids are 0 to num_embeddings - 1.
        embedding_dim: Size of each row.
        max_norm: Not offered: it rewrites rows, and no row is a parameter of its own.
        norm_type: Belongs to `max_norm`.
        scale_grad_by_freq: Not offered: cores have no gradient per row.
        mode: "sum", "mean" or "max" of the rows of a bag.
        sparse: Not offered: every id has a gradient in every core.
        include_last_offset: Whether the last of the offsets is the number of ids.
        padding_idx: An id that bags leave out, or None; a negative one counts from the end.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type, a template, or a sized spec of in_features=num_embeddings, out_features=embedding_dim.
        in_modes: Modes of the ids, if they are not to be chosen.
        out_modes: Modes of the rows, likewise.
        unique: As in `TNEmbedding`.
        seed: Draws the parameters; None takes torch's global generator.
        **keywords: The network type's own, such as `bond_dim`, and `cores`.

    Shape:
        As `nn.EmbeddingBag`: ids (bags, ids of each), or ids (n,) with offsets (bags,); output (bags, embedding_dim).

    Raises:
        TNLayersError: If an option is not offered, an id is out of range (checked on CPU, not in traced code), or the
            arguments of a call do not fit each other.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNEmbeddingBag(50_000, 512, mode="sum", network="mpo(cores=3, bond=16)", seed=0)
        >>> layer(torch.tensor([7, 49_999, 7]), torch.tensor([0, 2])).shape
        torch.Size([2, 512])
    """

    mode: BagMode = "mean"
    include_last_offset: bool = False

    @checks_arguments(device=device, dtype=floating, include_last_offset=flag)
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: BagMode = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
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
        if mode not in ("sum", "mean", "max"):
            raise TNLayersError(f"mode={shown(mode)}: bags are reduced by 'sum', 'mean' or 'max'.")
        own = {"in_modes": in_modes, "out_modes": out_modes} | keywords
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, norm_type, unique, network, device, dtype, seed, **own
        )
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Reduce the rows of every bag.

        Args:
            input: Ids (bags, ids of each), or (n,) for all bags together.
            offsets: Where each bag begins, for ids (n,).
            per_sample_weights: A factor for each id, in mode "sum".
        """
        self._check(input, offsets, per_sample_weights)
        rows = self._looked_up(input)
        if rows.is_complex():
            raise TNLayersError(f"{type(self).__name__} of {rows.dtype}: torch reduces bags of real rows only.")
        return _reduced(rows, input, offsets, per_sample_weights, self)

    def _check(self, ids: Tensor, offsets: Tensor | None, weights: Tensor | None) -> None:
        given = {"offsets": offsets, "per_sample_weights": weights}
        check_tensors(self, input=ids, **{name: value for name, value in given.items() if value is not None})
        check_bags(type(self).__name__, ids, offsets, weights, self.mode)

    @classmethod
    @torch.no_grad()
    def from_embedding_bag(
        cls, dense: nn.EmbeddingBag, network: str | Spec = "mpo", *, unique: bool = False, **asked: Any
    ) -> Self:
        """The layer that comes closest to a dense one within a budget or an error; the dense one stays as it is.

        Args:
            dense: The embedding bag whose table is taken.
            network: A network type or a template.
            unique: As in `TNEmbedding`.
            **asked: One size (`bond_dim`, `max_params`, `ratio` or `error`), and the other keywords of
                `TNEmbedding.from_embedding`.

        Raises:
            TNLayersError: As `tnlayers.compress.decompose`; or `dense` is no `nn.EmbeddingBag`, or has options that
                are not offered here.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> dense = torch.nn.EmbeddingBag(60, 16)
            >>> layer = tnl.nn.TNEmbeddingBag.from_embedding_bag(dense, error=0, cores=2)
            >>> ids = torch.arange(60).reshape(12, 5)
            >>> torch.allclose(layer(ids), dense(ids), atol=1e-5)
            True
        """
        dense = expect(dense, nn.EmbeddingBag, "from_embedding_bag")
        check_options(cls.__name__, dense.max_norm, dense.scale_grad_by_freq, dense.sparse)
        own = {name: getattr(dense, name) for name in ("mode", "include_last_offset", "padding_idx")}
        table = dense.weight.detach().clone()
        if dense.padding_idx is not None:
            table[dense.padding_idx] = 0  # no bag reads it
        make = partial(cls, dense.num_embeddings, dense.embedding_dim, unique=unique, **own)
        return converted(make, table.mT, None, partial(make_spec, network), asked)

    @torch.no_grad()
    def to_embedding_bag(self) -> nn.EmbeddingBag:
        """An `nn.EmbeddingBag` that gives the same, with parameters of its own."""
        table = self.to_dense()
        own = {name: getattr(self, name) for name in ("mode", "include_last_offset", "padding_idx")}
        dense = nn.EmbeddingBag(self.num_embeddings, self.embedding_dim, device=table.device, dtype=table.dtype, **own)
        dense.weight.copy_(table)
        return dense

    def _sizes_repr(self) -> str:
        text = f"{super()._sizes_repr()}, mode={self.mode}"
        return f"{text}, include_last_offset=True" if self.include_last_offset else text


def _reduced(rows: Tensor, ids: Tensor, offsets: Tensor | None, weights: Tensor | None, bag: Any) -> Tensor:
    """The rows of the ids, reduced bag by bag.

    Args:
        rows: One for each id.
        ids: Of any shape that bags have.
        offsets: Where bags begin.
        weights: Of the ids.
        bag: Who has `mode`, `include_last_offset` and `padding_idx`.
    """
    places, padding = torch.arange(ids.numel(), device=ids.device).reshape(ids.shape), None
    if bag.padding_idx is not None:  # one more row, the first, stands for all ids that are padding
        rows, padding = torch.cat([rows.new_zeros(1, rows.shape[1]), rows]), 0
        places = torch.where(ids == bag.padding_idx, 0, places + 1)
    try:
        return functional.embedding_bag(
            places,
            rows,
            None if offsets is None else offsets.long(),
            mode=bag.mode,
            per_sample_weights=None if weights is None else weights.to(rows.dtype),
            include_last_offset=bag.include_last_offset,
            padding_idx=padding,
        )
    except (RuntimeError, ValueError) as error:
        raise TNLayersError(f"These bags are none that torch reduces: {str(error)[:500]}") from error


class EmbeddingBagKind(EmbeddingKind):
    """Bags of rows by ids: vectors that count the ids of a bag, never built but for fits, times the table."""

    def build(self, spec: Spec, **keywords: Any) -> TNEmbeddingBag:  # type: ignore[override]
        """As `LayerKind`."""
        return TNEmbeddingBag(spec.in_features, spec.out_features, network=spec, **keywords)

    def from_dense(self, dense: nn.EmbeddingBag, network: str | Spec, **asked: Any) -> TNEmbeddingBag:  # type: ignore[override]
        """As `LayerKind`."""
        return TNEmbeddingBag.from_embedding_bag(dense, network, **asked)

    def to_dense(self, layer: TNEmbeddingBag) -> nn.EmbeddingBag:  # type: ignore[override]
        """As `LayerKind`."""
        return layer.to_embedding_bag()

    def plain(self, dense: nn.Module) -> nn.Module:
        """No bag reads the row of padding, whatever it is."""
        return dense

    def reason_against_delta(self, dense: Any) -> str:
        """As `LayerKind`."""
        if dense.mode == "max":
            return (
                "TNAdapter on an nn.EmbeddingBag with mode='max': the maxima of W + delta are not those of W plus "
                "those of delta. Adapt a bag with mode='sum' or 'mean', or replace it (from_embedding_bag)."
            )
        return super().reason_against_delta(dense)

    def reason_against_fit(self, layer: TNEmbeddingBag) -> str:
        """As `LayerKind`."""
        if layer.mode == "max":
            return "maxima of rows are not linear in the table, so there is no least-squares fit"
        if layer.num_embeddings > _LARGEST_FIT:
            return f"a fit needs the second moment of bags, a matrix of {layer.num_embeddings:,} x as many entries"
        return ""

    def given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bags | None:
        """Ids, offsets and weights."""
        names = ("input", "offsets", "per_sample_weights")
        found = dict(zip(names, args, strict=False)) | dict(kwargs)
        ids, offsets, weights = (found.get(name) for name in names)
        return (ids, offsets, weights) if isinstance(ids, Tensor) else None

    def work(self, dense: nn.Module, given: Bags) -> Work:  # type: ignore[override]
        """As `LayerKind`."""
        return Work(count=given[0].numel())

    def pairs(self, layer: Any, given: Bags, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        """What each bag has of every id; the padding's is zero."""
        y = wide(outputs)
        single = torch.eye(layer.num_embeddings, dtype=y.dtype, device=y.device)
        ids, offsets, weights = given
        yield _reduced(single[ids.reshape(-1).long()], ids, offsets, weights, layer)[None], y[None]


EMBEDDING_BAG = EmbeddingBagKind(
    classes=(TNEmbeddingBag,),
    replaces=nn.EmbeddingBag,
    keywords=("mode", "include_last_offset", "padding_idx", "unique"),
    missing={"unique": False},
    sizes=("num_embeddings", "embedding_dim"),
    options=("mode", "include_last_offset", "padding_idx", "max_norm"),
    turned=True,
    one_hot=True,
    searched=True,
)
