"""Convolutions to and from torch's dense ones, in both views."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn

from tnlayers.cores.convolve import convolve, pad_ahead, shaped
from tnlayers.declare.kernel import flat_size, kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.declare.window import Window, window
from tnlayers.decompose.asked import asked_size
from tnlayers.decompose.sizes import BondDim
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.exported import ExportedCores
from tnlayers_backends.torch.layers.from_dense import decomposed, divided, filled
from tnlayers_backends.torch.layers.moments import Sample, conv_moment, linear_moment
from tnlayers_backends.torch.layers.ordinary import expect
from tnlayers_backends.torch.run.primitives import OPS

View: TypeAlias = Literal["kernel", "flat"]
Sizes: TypeAlias = "int | tuple[int, ...]"
Dense: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
DENSE: dict[int, type[Dense]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_SHARED = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class DenseConv(ExportedCores):
    """The part of a convolution layer that knows its dense twin; abstract, see `TNConv`."""

    dims: ClassVar[int]
    # As torch's convolutions have them; given here too so that no core can take one of these names.
    in_channels: int = 0
    out_channels: int = 0
    groups: int = 1
    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: str | tuple[int, ...] = ()
    padding_mode: str = "zeros"
    in_size: tuple[int, ...] | None = None

    def to_dense(self) -> Tensor:
        """The dense weight, differentiable.

        Returns:
            The kernel of shape (out_channels, in_channels / groups, *kernel_size) as in torch's convolutions; in view
            "flat" the matrix (output features, input features), features ordered (*positions, channels).
        """
        matrix = super().to_dense()
        return self._shaped(matrix) if self.in_size is None else matrix

    def _shaped(self, matrix: Tensor) -> Tensor:
        kernel: Tensor = shaped(OPS, matrix, self.kernel_size)
        return kernel.contiguous()  # else torch takes it for channels_last, and reorders the input

    @classmethod
    @torch.no_grad()
    def from_conv(
        cls,
        dense: nn.Module,
        network: str | Spec = "mpo",
        *,
        bond_dim: BondDim | None = None,
        max_params: int | None = None,
        ratio: float | None = None,
        error: float | None = None,
        strict: bool = False,
        sample: Sample | None = None,
        view: View = "kernel",
        in_size: Sizes | None = None,
        **keywords: Any,
    ) -> Self:
        """The layer that comes closest to a dense convolution within a budget or an error; the dense one stays.

        Stride, padding, padding mode, dilation, groups, bias, dtype and device are the dense layer's.
        `layer.delivered` reports what came of it.

        Args:
            dense: The `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` whose kernel is taken, grouped and depthwise ones too.
            network: A network type or a template, of the kernel or of the flattened maps.
            bond_dim: The size of every bond, or one per bond; "vbmf" for the singular values above the noise.
            max_params: At most so many parameters in all cores.
            ratio: At most this share of the parameters of the kernel; in view "flat", of the matrix that it is there.
            error: At most this relative error of the weight, ||W - W'|| / ||W||; 0 keeps all of it.
            strict: Refuse a budget that is met only more than 2 % below it.
            sample: Inputs of the layer, (batch, in_channels, *positions), or an iterable of such batches: then the
                mean squared error of the outputs on them is minimised, not that of the weight. Its patches should be
                several times as many as a patch has entries. Groups count by their mean.
            view: "kernel", or "flat" with `in_size`: the convolution as one matrix from all positions to all positions
                (zero padding and one group only).
            in_size: The input's size along each dimension, for view "flat".
            **keywords: `covariance`, `error_of`, `sweeps`, `restarts` and `seed` as `decompose` takes them; the network
                type's own, and `cores`, `in_modes`, `out_modes`.

        Raises:
            TNLayersError: As `tnlayers.compress.decompose`; or `dense` is no convolution of this dimension, or its
                kernel does not fit the network.

        Example:
            >>> import torch
            >>> import tnlayers as tnl
            >>> dense = torch.nn.Conv2d(8, 16, 3, stride=2, padding=1)
            >>> layer = tnl.nn.TNConv2d.from_conv(dense, error=0)
            >>> x = torch.randn(2, 8, 9, 9)
            >>> torch.allclose(layer(x), dense(x), atol=1e-5)
            True
        """
        dense = expect(dense, DENSE[cls.dims], "from_conv")
        assert isinstance(dense, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        moment = None if sample is None else lambda: _moment(dense, sample, view, in_size)
        options, own = divided(keywords, moment, orders=False)
        if options.pop("search", 0):
            raise TNLayersError(
                "search= is for linear layers and embeddings: a convolution's sites are its dimensions and channels. "
                "Compare some in_modes= and out_modes= instead."
            )
        template = make_spec(network, **own)
        asked_size(template, bond_dim, max_params, ratio, error)  # of the template: with modes it may look complete
        matrix, sized, bias = _laid_out(dense, template, view, in_size)
        found = decomposed(
            matrix,
            sized,
            bond_dim=bond_dim,
            max_params=max_params,
            ratio=ratio,
            error=error,
            strict=strict,
            **options,
        )
        make: Any = cls  # every class that derives from this one has the arguments of `TNConv`
        layer: Self = make(
            dense.in_channels,
            dense.out_channels,
            bias=dense.bias is not None,
            device=dense.weight.device,
            dtype=dense.weight.dtype,
            network=found.spec,
            view=view,
            in_size=in_size,
            seed=0,
            **{name: getattr(dense, name) for name in _SHARED},
        )
        return filled(layer, found, bias)

    @torch.no_grad()
    def to_conv(self) -> Dense:
        """The dense convolution that computes the same, with parameters of its own.

        Raises:
            TNLayersError: In view "flat", which is no convolution.
        """
        if self.in_size is not None:
            raise TNLayersError(
                f"{type(self).__name__} with view='flat' shares no weights over positions: no convolution equals it. "
                "Its matrix is to_dense(); build with view='kernel' for a layer that to_conv() can turn back."
            )
        weight = self.to_dense()
        dense = DENSE[self.dims](
            self.in_channels,
            self.out_channels,
            bias=self.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
            **{name: getattr(self, name) for name in _SHARED},
        )
        dense.weight.copy_(weight)
        if self.bias is not None and dense.bias is not None:
            dense.bias.copy_(self.bias)
        return dense


def _moves(dense: Dense) -> Window:
    dims = dense.weight.ndim - 2
    return window(dims, dense.kernel_size, dense.stride, dense.padding, dense.dilation, dense.padding_mode)


def _moment(dense: Dense, sample: Sample, view: View, in_size: Any) -> Tensor:
    """The second moment of what a sample's images are to the weight in a view."""
    if view == "kernel":
        return conv_moment(sample, _moves(dense), dense.in_channels, dense.groups)
    batches = [sample] if isinstance(sample, Tensor) else sample
    features = prod(flat_size(dense.weight.ndim - 2, in_size, dense.groups, dense.padding_mode)) * dense.in_channels
    return linear_moment((batch.movedim(1, -1).reshape(len(batch), -1) for batch in batches), features)


def _laid_out(dense: Dense, template: Spec, view: View, in_size: Any) -> tuple[Tensor, Spec, Tensor | None]:
    """A convolution in a view: its weight as a matrix, the network's sizes for it, and its bias."""
    if view == "kernel":
        matrix = dense.weight.movedim(1, -1).reshape(dense.out_channels, -1)
        sizes = (dense.kernel_size, dense.in_channels, dense.out_channels, dense.groups)
        return matrix, kernel_spec(template, *sizes), dense.bias
    matrix, positions = _flat_matrix(dense, in_size)
    bias = None if dense.bias is None else dense.bias.repeat(positions)
    return matrix, make_spec(template, matrix.shape[1], matrix.shape[0]), bias


def _flat_matrix(dense: Dense, in_size: Any) -> tuple[Tensor, int]:
    """A convolution as a matrix of flattened maps, features ordered (*positions, channels); and its output positions.

    Its columns are the responses to single input features, so no index is worked out twice.
    """
    spatial = flat_size(dense.weight.ndim - 2, in_size, dense.groups, dense.padding_mode)
    moves = _moves(dense)
    features = prod(spatial) * dense.in_channels
    single = torch.eye(features, dtype=dense.weight.dtype, device=dense.weight.device)
    images = single.reshape(features, *spatial, dense.in_channels).movedim(-1, 1)
    responses: Tensor = convolve(OPS, pad_ahead(OPS, images, moves), dense.weight, None, moves, 1)
    return responses.movedim(1, -1).reshape(features, -1).mT, prod(responses.shape[2:])
