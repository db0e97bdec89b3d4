"""Convolutions as kinds, one for each number of dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tnlayers.declare.kernel import kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.window import Window, window
from tnlayers.planning.conv_plan import Convolution, ConvPlan
from tnlayers.pricing.counts import Cost
from tnlayers_backends.torch.layers.conv import TNConv, TNConv1d, TNConv2d, TNConv3d
from tnlayers_backends.torch.layers.conv_dense import DENSE, Dense
from tnlayers_backends.torch.layers.kind import LayerKind, Work, rates_of, seconds
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.moments import conv_moment, conv_patches, images_at_once, wide

_SETTINGS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class ConvKind(LayerKind):
    """Images convolved with a kernel; in view "flat", maps as vectors times a matrix."""

    def build(self, spec: Spec, **keywords: Any) -> TNModule:
        make: Any = self.classes[0]
        layer: TNConv = make(network=spec, bias=spec.bias, **keywords)
        return layer

    def from_dense(self, dense: Dense, network: str | Spec, **asked: Any) -> TNModule:
        make: Any = self.classes[0]
        layer: TNConv = make.from_conv(dense, network, **asked)
        return layer

    def to_dense(self, layer: TNConv) -> Dense:
        return layer.to_conv()

    def template(self, network: str | Spec, dense: Dense) -> Spec:
        """One mode for each dimension of the kernel, then the channels'."""
        return kernel_spec(network, dense.kernel_size, dense.in_channels, dense.out_channels, dense.groups)

    def matrix(self, weight: Tensor) -> Tensor:
        """Input features are ordered (*kernel, channels)."""
        return weight.movedim(1, -1).flatten(1)

    def sharing(self, dense: Dense) -> tuple[object, ...]:
        """Strides and padding may differ."""
        return type(dense), dense.in_channels, dense.out_channels, dense.groups

    def loads(self, layer: TNConv) -> bool:
        """Only kernels: the flattened map of a convolution is no weight of its own."""
        return layer.view == "kernel"

    def work(self, dense: Dense, given: Tensor) -> Work:
        images = _batched(given, len(dense.kernel_size))
        return Work(count=len(images), spatial=tuple(images.shape[2:]))

    def moment(self, dense: Dense, given: Tensor) -> Tensor:
        """Of the patches under the kernel."""
        moves = _moves(dense)
        return conv_moment(_batched(given, len(moves.kernel)), moves, dense.in_channels, dense.groups)

    def pairs(self, layer: TNConv, given: Tensor, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The patches under the kernel, of each group; in view "flat" the map as one vector."""
        images, maps = _batched(given, layer.dims), _batched(outputs, layer.dims)
        if layer.view == "flat":
            x, y = (wide(one).movedim(1, -1).reshape(1, len(one), -1) for one in (images, maps))
            yield x, y
            return
        moves = _moves(layer)
        at_once = images_at_once(images, moves)
        for some, wanted in zip(torch.split(images, at_once), torch.split(maps, at_once), strict=True):
            y = wide(wanted).reshape(len(some), layer.groups, layer.out_channels // layer.groups, -1)
            yield conv_patches(some, moves, layer.groups), y.permute(1, 0, 3, 2).flatten(1, 2)

    def cost(self, layer: TNConv, work: Work) -> Cost | None:
        return layer.plan_for((work.count, layer.in_channels, *work.spatial)).cost if work.spatial else None

    def dense_cost(self, dense: Dense, work: Work) -> Cost | None:
        if not work.spatial:
            return None
        sizes = {"in_channels": dense.in_channels, "out_channels": dense.out_channels, "groups": dense.groups}
        convolution = Convolution(kernels=(), window=_moves(dense), title="", **sizes)
        return convolution.dense(work.count, work.spatial, dense.weight.itemsize)

    def time_ratio(self, layer: TNConv, dense: Dense, work: Work) -> float | None:
        ours, theirs, rates = self.cost(layer, work), self.dense_cost(dense, work), rates_of(layer)
        if ours is None or theirs is None:
            return None
        plan = layer.plan_for((work.count, layer.in_channels, *work.spatial))
        steps = sum(len(route.steps) for route in plan.routes) if isinstance(plan, ConvPlan) else 1
        return seconds(rates, ours, max(steps, 1)) / seconds(rates, theirs, 1)


def _moves(conv: Dense | TNConv) -> Window:
    settings: Any = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode)
    return window(len(conv.kernel_size), *settings)


def _batched(images: Tensor, dims: int) -> Tensor:
    """Images with the batch axis, which a single one lacks."""
    return images if images.ndim == dims + 2 else images[None]


def _kind(layer: type[TNConv], dense: type[nn.Module]) -> ConvKind:
    return ConvKind(
        classes=(layer,),
        replaces=dense,
        keywords=(*_SETTINGS, "view", "in_size"),
        missing={"view": "kernel", "in_size": None},
        sizes=_SETTINGS,
    )


CONV1D, CONV2D, CONV3D = (_kind(layer, DENSE[layer.dims]) for layer in (TNConv1d, TNConv2d, TNConv3d))
