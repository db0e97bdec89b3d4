"""Pairs of what a layer multiplies its weight with and what should come out, and their second moments.

Every layer kind whose output is linear in its weight is seen as one stack of matrices times vectors, one per group:

    linear          the vectors as they are                       (1, samples, in_features)
    embedding       one-hot vectors, never built: their second moment is the diagonal of how often each id was met
    convolution     the patches under the kernel, of each group   (groups, samples, kernel positions * own channels)
    flat            the map as one vector                         (1, images, positions * channels)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tnlayers_backends.torch.layers.conv import TNConv
from tnlayers_backends.torch.layers.embedding import TNEmbedding
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.moments import conv_patches, images_at_once, wide
from torch import Tensor

from tnlayers.declare.window import window


@dataclass(eq=False)
class Moments:
    """Sums over pairs (x, y), in double precision.

    Attributes:
        count: Pairs so far, in each group.
        x: Sum of x, (groups, in).
        y: Sum of y, (groups, out).
        xx: Sum of x x^H, (groups, in, in); of one-hot vectors only its diagonal, (groups, in).
        yx: Sum of y x^H, (groups, out, in).
        yy: Sum of ||y||^2 over all groups.
    """

    count: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    yx: Tensor
    yy: Tensor

    @property
    def means(self) -> Moments:
        """The same per pair."""
        return self.map(lambda total: total / self.count)

    def map(self, change: Callable[[Tensor], Any]) -> Moments:
        """Every sum changed by a function."""
        return Moments(*(change(total) for total in self._all))

    def __add__(self, other: Moments) -> Moments:
        """The moments of both samples."""
        return Moments(*(a + b for a, b in zip(self._all, other._all, strict=True)))

    @property
    def _all(self) -> tuple[Tensor, ...]:
        return self.count, self.x, self.y, self.xx, self.yx, self.yy


@torch.no_grad()
def moments(layer: TNModule, inputs: Tensor, outputs: Tensor) -> Moments:
    """The moments of a batch.

    Args:
        layer: Which the inputs go into.
        inputs: As its forward takes them.
        outputs: As its forward should give them.
    """
    if isinstance(layer, TNEmbedding):
        return _of_ids(layer, inputs.reshape(-1), wide(outputs).reshape(-1, layer.embedding_dim))
    total: Moments | None = None
    for x, y in _pairs(layer, inputs, outputs):
        x, y = (array.to(torch.promote_types(x.dtype, y.dtype)) for array in (x, y))
        dagger = x.conj()
        found = Moments(
            count=x.abs().new_tensor(x.shape[1]),
            x=x.sum(1),
            y=y.sum(1),
            xx=x.mT @ dagger,
            yx=y.mT @ dagger,
            yy=y.abs().square().sum(),
        )
        total = found if total is None else total + found
    assert total is not None
    return total


def _pairs(layer: TNModule, inputs: Tensor, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs of shape (groups, samples, in) and outputs (groups, samples, out), some at a time."""
    if not isinstance(layer, TNConv):
        spec = layer.spec
        yield wide(inputs).reshape(1, -1, spec.in_features), wide(outputs).reshape(1, -1, spec.out_features)
        return
    images = inputs if inputs.ndim == layer.dims + 2 else inputs[None]
    maps = outputs if outputs.ndim == layer.dims + 2 else outputs[None]
    if layer.view == "flat":
        x, y = (wide(one).movedim(1, -1).reshape(1, len(one), -1) for one in (images, maps))
        yield x, y
        return
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode)
    moves = window(layer.dims, *settings)
    at_once = images_at_once(images, moves)
    for some, wanted in zip(torch.split(images, at_once), torch.split(maps, at_once), strict=True):
        y = wide(wanted).reshape(len(some), layer.groups, layer.out_channels // layer.groups, -1)
        yield conv_patches(some, moves, layer.groups), y.permute(1, 0, 3, 2).flatten(1, 2)


def _of_ids(layer: TNEmbedding, ids: Tensor, rows: Tensor) -> Moments:
    """Those of one-hot vectors; the row of a padding id is zero whatever the cores are, and does not count."""
    met = ids != layer.padding_idx if layer.padding_idx is not None else torch.ones_like(ids, dtype=torch.bool)
    ids, rows = ids[met].long(), rows[met]
    counts = torch.bincount(ids, minlength=layer.num_embeddings).to(rows)
    sums = rows.new_zeros(layer.num_embeddings, layer.embedding_dim).index_add_(0, ids, rows)
    return Moments(
        count=rows.abs().new_tensor(len(ids)),
        x=counts[None],
        y=rows.sum(0)[None],
        xx=counts[None],
        yx=sums.mT[None],
        yy=rows.abs().square().sum(),
    )
