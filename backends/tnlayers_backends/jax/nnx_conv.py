"""`TNConv`: convolutions as Flax NNX modules, channels last, padded as flax pads."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.kernel import check_channels, kernel_spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.jax.module import JaxLayer, drawn_layer
from tnlayers_backends.jax.nnx_layers import Network, TNModule
from tnlayers_backends.jax.primitives import OPS


class TNConv(TNModule):
    """`nnx.Conv` whose kernel is a tensor network; images are (..., *positions, in_features), channels last.

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        kernel_size: One number for each dimension, or one number for one dimension.
        strides: Step between output positions, one number or one per dimension.
        padding: "SAME", "VALID", "CIRCULAR", a number, or one number or pair (before, behind) per dimension.
        kernel_dilation: Step between the kernel's positions, likewise as strides.
        feature_group_count: Groups of channels that do not see each other.
        use_bias: Whether to add a learned number per channel.
        network: A template, such as "mpo(bond=8)", or a spec, as `tnl.nn.TNConv2d` takes them; or a layer of
            `backend="jax"`, whose parameters and settings are then taken over.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If the network does not fit the kernel, or an input the layer.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNConv(8, 16, (3, 3), strides=2, network="mpo(cores=2, bond=4)", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((5, 28, 28, 8))).shape
        (5, 14, 14, 16)
    """

    @checks_arguments(in_features=None, out_features=None, network=None)
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: Any = "SAME",
        kernel_dilation: int | Sequence[int] = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        network: Network | JaxLayer = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        self.padding: Any = None  # that of the layer, where one is given
        if isinstance(network, JaxLayer):
            super().__init__(network, dtype=dtype)
            return
        kernel = (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
        dims = len(kernel)
        if dims not in (1, 2, 3):
            raise TNLayersError(f"kernel_size={kernel_size!r}: a convolution here has 1, 2 or 3 dimensions.")
        check_channels(in_features, out_features, feature_group_count)
        spec = kernel_spec(network, kernel, in_features, out_features, feature_group_count, bias=use_bias, **keywords)
        settings: dict[str, Any] = {
            "in_channels": in_features,
            "out_channels": out_features,
            "kernel_size": kernel,
            "stride": _each(strides, dims),
            "padding": (0,) * dims,
            "dilation": _each(kernel_dilation, dims),
            "groups": feature_group_count,
            "padding_mode": "zeros",
            "view": "kernel",
            "in_size": None,
        }
        super().__init__(drawn_layer(f"conv{dims}d", spec, param_dtype, rngs.params(), **settings), dtype=dtype)
        self.padding = _padding(padding, dims)

    @staticmethod
    def of(layer: JaxLayer, *, dtype: Any = None) -> TNConv:
        """The module of a convolution with its parameters and its own padding; images are channels last here too.

        Args:
            layer: Of `tnl.load(path, backend="jax")` or `tnl.to_backend(...)`.
            dtype: Of the computation, as at construction.
        """
        form: Any = layer.form
        sizes = (form.in_channels, form.out_channels, form.kernel_size)
        return TNConv(*sizes, network=layer, dtype=dtype, rngs=nnx.Rngs(0))

    def __call__(self, inputs: Any) -> jax.Array:
        """Convolve."""
        form: Any = self.form
        x, dims = jnp.asarray(inputs), form.dims
        leading = x.shape[: x.ndim - dims - 1]
        x = jnp.moveaxis(x.reshape(prod(leading), *x.shape[len(leading) :]), -1, 1)
        if self.padding is not None:
            extents = [step * (size - 1) + 1 for size, step in zip(form.kernel_size, form.dilation, strict=True)]
            pads = _amounts(self.padding, x.shape[2:], extents, form.stride)
            x = OPS.surround(x, pads, "circular" if self.padding == "CIRCULAR" else "zeros")
        y = jnp.moveaxis(super().__call__(x), 1, -1)
        return y.reshape(*leading, *y.shape[1:])


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def _padding(value: Any, dims: int) -> Any:
    """A padding as flax takes it: a name, or pairs.

    Raises:
        TNLayersError: If it is none.
    """
    if isinstance(value, str) and value.upper() in ("SAME", "VALID", "CIRCULAR"):
        return value.upper()
    values = (value,) * dims if isinstance(value, int) else value
    pairs = tuple((one, one) if isinstance(one, int) else tuple(one) for one in values) if _is_row(values) else ()
    if len(pairs) != dims or not all(len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in pairs):
        raise TNLayersError(
            f"padding={str(value)[:80]} is neither 'SAME', 'VALID', 'CIRCULAR', a number of at least 0, nor {dims} "
            "numbers or pairs of such."
        )
    return pairs


def _is_row(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(one, (int, tuple, list)) for one in values)


def _amounts(
    padding: Any, sizes: Sequence[int], extents: Sequence[int], stride: Sequence[int]
) -> list[tuple[int, int]]:
    """Positions before and behind along each dimension."""
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    if isinstance(padding, tuple):
        return list(padding)
    spare = [
        max((-(-size // step) - 1) * step + extent - size, 0)
        for size, extent, step in zip(sizes, extents, stride, strict=True)
    ]
    if padding == "CIRCULAR":
        spare = [extent - 1 for extent in extents]
    return [(n // 2, n - n // 2) for n in spare]
