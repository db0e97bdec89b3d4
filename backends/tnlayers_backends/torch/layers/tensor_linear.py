"""`TNTensorLinear`: a linear map between tensors that keeps their axes, as regression on tensors asks for."""

from __future__ import annotations

from math import prod
from typing import Any, Self

import torch
from torch import Tensor, nn

from tnlayers.cores.tensor_modes import tensor_modes
from tnlayers.declare.arguments import checks_arguments, device, floating, shape
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.linear_kind import LinearKind
from tnlayers_backends.torch.run.inputs import check_tensors


class TNTensorLinear(TNLinear):
    """A `TNLinear` from tensors (..., *in_shape) to tensors (..., *out_shape), of the same declaration.

    With `out_shape=()` it is a tensor regression layer: one number per input (Kossaifi et al., arXiv 1707.08308).

    Args:
        in_shape: Sizes of the input's axes.
        out_shape: Sizes of the output's axes; () for one number.
        bias: Whether to add a learned tensor, stored as a vector of all its entries.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: A network type, a template, or a sized spec. Unless it has modes, the axes are the modes, the shorter
            list filled up with 1s.
        in_modes: Modes of the input, if they are not to be its axes.
        out_modes: Modes of the output, likewise.
        seed: Draws the parameters; None takes torch's global generator.
        **keywords: The network type's own, such as `bond_dim`; with `cores` the sizes are split anew.

    Raises:
        TNLayersError: If the network does not fit the sizes, or an input has other last axes.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNTensorLinear((8, 7, 7), (4, 5), network="mpo(bond=4)", seed=0)
        >>> layer.spec
        Spec('mpo(in=8x7x7, out=4x5x1, bias=true, bond=4)')
        >>> layer(torch.zeros(2, 3, 8, 7, 7)).shape
        torch.Size([2, 3, 4, 5])
    """

    in_shape: tuple[int, ...] = ()
    out_shape: tuple[int, ...] = ()

    @checks_arguments(device=device, dtype=floating, in_shape=shape, out_shape=shape)
    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: str | Spec = "mpo",
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> None:
        own = {"in_modes": in_modes, "out_modes": out_modes} | keywords
        own |= tensor_modes(network, in_shape, out_shape, own)
        super().__init__(
            prod(in_shape),
            prod(out_shape),
            bias,
            device,
            dtype,
            network=network,
            seed=seed,
            **own,
        )
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)

    @classmethod
    @torch.no_grad()
    def from_linear(
        cls,
        dense: nn.Linear,
        network: str | Spec = "mpo",
        *,
        in_shape: tuple[int, ...] | None = None,
        out_shape: tuple[int, ...] | None = None,
        **keywords: Any,
    ) -> Self:
        """As `TNLinear.from_linear`, for a dense layer of flattened tensors.

        Args:
            dense: The layer whose weight is taken.
            network: A network type or a template.
            in_shape: Sizes of the input's axes, in_features together; one axis if None.
            out_shape: Sizes of the output's axes, likewise.
            **keywords: As `TNLinear.from_linear` takes them.

        Raises:
            TNLayersError: As `TNLinear.from_linear`; or the shapes do not multiply to the dense layer's sizes.

        Example:
            >>> import tnlayers as tnl
            >>> dense = torch.nn.Linear(24, 6)
            >>> layer = tnl.nn.TNTensorLinear.from_linear(dense, error=0, in_shape=(2, 3, 4), cores=2)
            >>> x = torch.randn(5, 2, 3, 4)
            >>> torch.allclose(layer(x), dense(x.flatten(1)), atol=1e-5)
            True
        """
        layer = super().from_linear(dense, network, **keywords)
        shapes = {
            "in_shape": (layer.in_features,) if in_shape is None else tuple(in_shape),
            "out_shape": (layer.out_features,) if out_shape is None else tuple(out_shape),
        }
        for (name, sizes), size in zip(shapes.items(), (layer.in_features, layer.out_features), strict=True):
            if prod(sizes) != size:
                raise TNLayersError(f"{name}={sizes} has {prod(sizes)} entries; this dense layer has {size} there.")
        layer.in_shape, layer.out_shape = shapes["in_shape"], shapes["out_shape"]
        return layer

    def to_linear(self) -> nn.Linear:
        """An `nn.Linear` that computes the same of flattened tensors, with parameters of its own."""
        return super().to_linear()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to tensors of shape (..., *in_shape)."""
        check_tensors(self, x=x)
        order = len(self.in_shape)
        leading = x.shape[: x.ndim - order]
        if x.ndim < order or tuple(x.shape[x.ndim - order :]) != self.in_shape:
            axes = ", ".join(map(str, self.in_shape))
            raise TNLayersError(f"The input has shape {tuple(x.shape)}, but this layer takes (..., {axes}).")
        return super().forward(x.reshape(*leading, self.in_features)).reshape((*leading, *self.out_shape))

    def _sizes_repr(self) -> str:
        return f"in_shape={self.in_shape}, out_shape={self.out_shape}"


class TensorLinearKind(LinearKind):
    """A linear map between tensors; it replaces no module of torch, so such a layer must be at its place."""

    def build(self, spec: Spec, **keywords: Any) -> TNTensorLinear:
        """As `LayerKind`."""
        return TNTensorLinear(network=spec, bias=spec.bias, **keywords)

    def from_dense(self, dense: nn.Linear, network: str | Spec, **asked: Any) -> TNTensorLinear:
        """As `LayerKind`."""
        return TNTensorLinear.from_linear(dense, network, **asked)


TENSOR_LINEAR = TensorLinearKind(
    classes=(TNTensorLinear,),
    replaces=TNTensorLinear,
    stands_for=nn.Linear,
    keywords=("in_shape", "out_shape"),
    sizes=("in_features", "out_features"),
    options=("in_shape", "out_shape"),
    searched=True,
    ordered=True,
)
