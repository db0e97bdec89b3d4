"""Pairs of what a layer multiplies its weight with and what should come out, and their second moments.

Every layer kind whose output is linear in its weight is seen as one stack of matrices times vectors, one per group,
by `LayerKind.pairs`:

    linear          the vectors as they are                       (1, samples, in_features)
    embedding       one-hot vectors, never built: their second moment is the diagonal of how often each id was met
    convolution     the patches under the kernel, of each group   (groups, samples, kernel positions * own channels)
    flat            the map as one vector                         (1, images, positions * channels)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from tnlayers_backends.torch.layers.kinds import kind_of
from tnlayers_backends.torch.layers.module import TNModule
from torch import Tensor


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
def moments(layer: TNModule, inputs: Any, outputs: Tensor) -> Moments:
    """The moments of a batch.

    Args:
        layer: Which the inputs go into.
        inputs: What its kind is given by a call.
        outputs: As its forward should give them.
    """
    kind = kind_of(layer)
    found = (
        _of_ids(layer.spec.in_features, x, y) if x.ndim == 1 else _of_vectors(x, y)
        for x, y in kind.pairs(layer, inputs, outputs)
    )
    return reduce(add, found)


def _of_vectors(x: Tensor, y: Tensor) -> Moments:
    x, y = (array.to(torch.promote_types(x.dtype, y.dtype)) for array in (x, y))
    dagger = x.conj()
    return Moments(
        count=x.abs().new_tensor(x.shape[1]),
        x=x.sum(1),
        y=y.sum(1),
        xx=x.mT @ dagger,
        yx=y.mT @ dagger,
        yy=y.abs().square().sum(),
    )


def _of_ids(features: int, ids: Tensor, rows: Tensor) -> Moments:
    """Those of one-hot vectors."""
    counts = torch.bincount(ids, minlength=features).to(rows)
    sums = rows.new_zeros(features, rows.shape[1]).index_add_(0, ids, rows)
    return Moments(
        count=rows.abs().new_tensor(len(ids)),
        x=counts[None],
        y=rows.sum(0)[None],
        xx=counts[None],
        yx=sums.mT[None],
        yy=rows.abs().square().sum(),
    )
