"""Layers of other kinds than linear as Equinox modules; names and order of arguments are those of `equinox.nn`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from tnlayers.cores.bags import BagMode, bag_keywords
from tnlayers.cores.pairs import pair_spec
from tnlayers.cores.tensor_modes import tensor_modes
from tnlayers.declare.arguments import checks_arguments, flag, shape
from tnlayers.declare.kernel import check_channels, kernel_spec
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.declare.window import window
from tnlayers_backends.jax.linear import JaxLinear
from tnlayers_backends.jax.module import JaxModule, drawn_layer

Network = str | Spec


def default_dtype(dtype: Any) -> Any:
    """A dtype, or the one that Equinox would choose."""
    return jnp.zeros(0).dtype if dtype is None else dtype


class TNModule(eqx.Module):
    """A layer of any kind, or a whole model, of `tnl.load(path, backend="jax")` or `tnl.to_backend(...)`.

    It is called as the torch module that it replaces, and evaluates; running statistics have no gradient.

    Args:
        layer: The layer or model.
    """

    layer: JaxModule | JaxLinear

    def __init__(self, layer: JaxModule | JaxLinear) -> None:
        self.layer = layer

    def __call__(self, *inputs: Any, key: jax.Array | None = None, **options: Any) -> Any:
        """Run the module; `key` is ignored, as in Equinox."""
        return self.layer(*inputs, **options)


class TNConv(TNModule):
    """A convolution of Equinox whose kernel is a tensor network; abstract: `TNConv1d` to `TNConv3d` set the dimensions.

    One image (in_channels, *positions) goes through at once, as in Equinox, or a batch of them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One number, or one per dimension; likewise the next three.
        stride: Step between output positions.
        padding: Positions added on both sides, or "same" or "valid", in any case.
        dilation: Step between the kernel's positions.
        groups: Groups of channels that do not see each other.
        use_bias: Whether to add a learned number per channel.
        padding_mode: "ZEROS", "REFLECT", "REPLICATE" or "CIRCULAR".
        dtype: Of the parameters; jax's default if None.
        network: A template, such as "mpo(bond=8)", or a spec.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If an argument is out of range, or the network does not fit the kernel.
    """

    _dims: ClassVar[int]

    @checks_arguments(in_channels=None, out_channels=None, groups=None)
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Any = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        padding_mode: str = "ZEROS",
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        padding = padding.lower() if isinstance(padding, str) else padding
        moves = window(self._dims, kernel_size, stride, padding, dilation, padding_mode.lower())
        check_channels(in_channels, out_channels, groups)
        spec = kernel_spec(network, moves.kernel, in_channels, out_channels, groups, bias=use_bias, **keywords)
        settings: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": moves.kernel,
            "stride": moves.stride,
            "padding": padding if isinstance(padding, str) else tuple(before for before, _ in moves.padding),
            "dilation": moves.dilation,
            "groups": groups,
            "padding_mode": moves.mode,
            "view": "kernel",
            "in_size": None,
        }
        super().__init__(drawn_layer(f"conv{self._dims}d", spec, default_dtype(dtype), key, **settings))


class TNConv1d(TNConv):
    """`eqx.nn.Conv1d` with a tensor network for its kernel; see `TNConv` for the arguments."""

    _dims = 1


class TNConv2d(TNConv):
    """`eqx.nn.Conv2d` with a tensor network for its kernel; see `TNConv` for the arguments.

    Example:
        >>> import jax
        >>> import tnlayers as tnl
        >>> key = jax.random.key(0)
        >>> layer = tnl.jax.eqx.TNConv2d(8, 16, 3, padding="SAME", network="mpo(cores=2, bond=4)", key=key)
        >>> layer(jax.numpy.ones((8, 28, 28))).shape
        (16, 28, 28)
    """

    _dims = 2


class TNConv3d(TNConv):
    """`eqx.nn.Conv3d` with a tensor network for its kernel; see `TNConv` for the arguments."""

    _dims = 3


class TNEmbedding(TNModule):
    """`eqx.nn.Embedding` whose table is a tensor network; rows are looked up for ids of any shape at once.

    Args:
        num_embeddings: How many rows the table has.
        embedding_size: Size of each row.
        dtype: Of the parameters; jax's default if None.
        network: A template, such as "mpo(bond=16)", or a spec.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes; or an id is out of range and no trace hides it, where its
            row is nan.
    """

    @checks_arguments()
    def __init__(
        self,
        num_embeddings: int,
        embedding_size: int,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, num_embeddings, embedding_size, **keywords)
        own: dict[str, Any] = {"padding_idx": None, "unique": False}
        super().__init__(drawn_layer("embedding", spec, default_dtype(dtype), key, **own))


class TNEmbeddingBag(TNModule):
    """Sums, means or maxima of bags of rows of a table that is a tensor network; the table is never built.

    Equinox has no such layer; it is called as `tnl.nn.TNEmbeddingBag`, with all bags at once.

    Args:
        num_embeddings: How many rows the table has.
        embedding_size: Size of each row.
        mode: "sum", "mean" or "max" of the rows of a bag.
        padding_idx: An id that bags leave out, or None; a negative one counts from the end.
        include_last_offset: Whether the last of the offsets is the number of ids.
        dtype: Of the parameters; jax's default if None.
        network: A template, such as "mpo(bond=16)", or a spec.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: As for `TNEmbedding`, or the mode or `padding_idx` is none.
    """

    @checks_arguments(include_last_offset=flag)
    def __init__(
        self,
        num_embeddings: int,
        embedding_size: int,
        mode: BagMode = "mean",
        padding_idx: int | None = None,
        include_last_offset: bool = False,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, num_embeddings, embedding_size, **keywords)
        own = bag_keywords(num_embeddings, mode, padding_idx, include_last_offset)
        super().__init__(drawn_layer("embedding_bag", spec, default_dtype(dtype), key, **own))


class TNTensorLinear(TNModule):
    """A linear map between tensors (..., *in_shape) and (..., *out_shape) whose weight is a tensor network.

    Args:
        in_shape: Sizes of the input's axes.
        out_shape: Sizes of the output's axes; () for one number.
        use_bias: Whether to add a learned tensor, stored as a vector.
        dtype: Of the parameters; jax's default if None.
        network: A template or a spec; unless it has modes, the axes are the modes.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes.
    """

    @checks_arguments(in_shape=shape, out_shape=shape)
    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        use_bias: bool = True,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        keywords |= tensor_modes(network, in_shape, out_shape, keywords)
        spec = make_spec(network, prod(in_shape), prod(out_shape), bias=use_bias, **keywords)
        own: dict[str, Any] = {"in_shape": tuple(in_shape), "out_shape": tuple(out_shape)}
        super().__init__(drawn_layer("tensor_linear", spec, default_dtype(dtype), key, **own))


class TNBilinear(TNModule):
    """A bilinear map y_o = sum_ij W_oij a_i b_j + bias_o whose weight is a tensor network; Equinox has none.

    Args:
        in1_features: Size of each first input.
        in2_features: Size of each second input.
        out_features: Size of each output.
        use_bias: Whether to add a learned vector.
        dtype: Of the parameters; jax's default if None.
        network: A template or a spec, as `tnl.nn.TNBilinear` takes them.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes.
    """

    @checks_arguments()
    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        use_bias: bool = True,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        spec = pair_spec(network, in1_features, in2_features, out_features, bias=use_bias, **keywords)
        own: dict[str, Any] = {"in1_features": in1_features, "in2_features": in2_features}
        super().__init__(drawn_layer("bilinear", spec, default_dtype(dtype), key, **own))
