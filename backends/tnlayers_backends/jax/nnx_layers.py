"""Layers of other kinds than linear as Flax NNX modules; names and order of arguments are those of flax.nnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tnlayers.cores.bags import BagMode, bag_keywords
from tnlayers.cores.lookup import transposed
from tnlayers.cores.pairs import pair_spec
from tnlayers.cores.tensor_modes import tensor_modes
from tnlayers.declare.arguments import checks_arguments, flag, shape
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.forms.form import Form, Runtime, tree
from tnlayers.forms.several import Adapter
from tnlayers_backends.jax.linear import JaxLinear
from tnlayers_backends.jax.module import RUNTIME, JaxModule, as_arrays, drawn_layer, make_module
from tnlayers_backends.jax.multiply import multiply
from tnlayers_backends.jax.nnx import hold
from tnlayers_backends.jax.storage import describe

Network = str | Spec
_STATISTICS = ("running_mean", "running_var")


class Frozen(nnx.Variable[Any]):
    """What a module holds and no optimizer trains: the dense layer of an adapter. It is no `nnx.Param`."""


class TNModule(nnx.Module):
    """A layer of any kind, or a whole model, of `tnl.load(path, backend="jax")` or `tnl.to_backend(...)`.

    Its arrays are parameters by their own names (`nnx.Param`), running statistics of normalisations `nnx.BatchStat`,
    the dense layers of adapters `tnl.jax.nnx.Frozen`. It is called as the torch module that it replaces, and
    evaluates.

    Args:
        layer: The layer or model, whose arrays are taken over.
        dtype: Of the computation; None for what inputs and parameters promote to.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> model = tnl.jax.nnx.TNModule(tnl.to_backend(tnl.models.build("lenet5", seed=0), "jax"))
        >>> model(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)
    """

    def __init__(self, layer: JaxModule | JaxLinear, *, dtype: Any = None) -> None:
        form, arrays = describe(layer)
        self.form, self.dtype = form, dtype
        hold(self, arrays, form.kind, _kinds(form))

    @property
    def layer(self) -> JaxModule:
        """The layer with the parameters of now: for `to_dense`, `norm2`, `tnl.save`, `tnl.draw`."""
        arrays = {name: getattr(self, name)[...] for name in self.form.shapes}
        return make_module(self.form, arrays)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the module."""
        return self._run(RUNTIME, inputs, options)

    def _run(self, at: Runtime, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Run the module in the dtype of its computation."""
        layer = self.layer
        given = as_arrays((inputs, options))
        floating = [x for x in jax.tree.leaves(given) if _is_floating(x)]
        dtype = self.dtype or jnp.result_type(*floating, *layer.params.values())
        params, (places, named) = jax.tree.map(
            lambda x: x.astype(dtype) if _is_floating(x) else x, (dict(layer.params), given)
        )
        return self.form.apply(at, params, *places, **named)


def _is_floating(x: jax.Array | bool) -> bool:
    return not isinstance(x, bool) and bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _kinds(form: Form) -> dict[str, Any]:
    """The kind of variable that each array of a form is."""
    adapters = [path for path, one in tree(form) if isinstance(one, Adapter)]
    still = tuple(f"{path}.base." if path else "base." for path in adapters)
    return {
        name: nnx.BatchStat
        if name.rpartition(".")[2] in _STATISTICS
        else Frozen
        if name.startswith(still)
        else nnx.Param
        for name in form.shapes
    }


class TNEmbedding(TNModule):
    """`nnx.Embed` whose table is a tensor network; the table is never built. Rows are of variance 1 / features.

    Args:
        num_embeddings: How many rows the table has.
        features: Size of each row.
        network: A template, such as "mpo(bond=16)", or a spec.
        dtype: Of the rows; None for that of the parameters.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes; or an id is out of range and no trace hides it, where its
            row is nan.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNEmbedding(50_000, 512, network="mpo(cores=3, bond=16)", rngs=nnx.Rngs(0))
        >>> layer(jnp.array([[0, 49_999, 7]])).shape
        (1, 3, 512)
    """

    @checks_arguments()
    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        network: Network = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, num_embeddings, features, **keywords)
        own: dict[str, Any] = {"padding_idx": None, "unique": False}
        made = drawn_layer("embedding", spec, param_dtype, rngs.params(), variance=1 / features, **own)
        super().__init__(made, dtype=dtype)

    def attend(self, query: Any) -> jax.Array:
        """The scores of all rows, query W^T: vectors (..., features) to (..., num_embeddings)."""
        form: Any = self.form
        x, cores = jnp.asarray(query), [getattr(self, name)[...] for name in form.map.shapes]
        dtype = self.dtype or jnp.result_type(x, *cores)
        return multiply(transposed(form.map), x.astype(dtype), [core.astype(dtype) for core in cores], by_jax=False)


class TNEmbeddingBag(TNModule):
    """Sums, means or maxima of bags of rows of a table that is a tensor network; the table is never built.

    Flax has no such layer; it is called as `tnl.nn.TNEmbeddingBag`. Rows are of variance 1 / features.

    Args:
        num_embeddings: How many rows the table has.
        features: Size of each row.
        mode: "sum", "mean" or "max" of the rows of a bag.
        padding_idx: An id that bags leave out, or None; a negative one counts from the end.
        include_last_offset: Whether the last of the offsets is the number of ids.
        network: A template, such as "mpo(bond=16)", or a spec.
        dtype: Of the rows; None for that of the parameters.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: As for `TNEmbedding`, or the mode or `padding_idx` is none.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNEmbeddingBag(50_000, 512, "sum", network="mpo(cores=3, bond=16)", rngs=nnx.Rngs(0))
        >>> layer(jnp.array([7, 49_999, 7]), jnp.array([0, 2])).shape
        (2, 512)
    """

    @checks_arguments(include_last_offset=flag)
    def __init__(
        self,
        num_embeddings: int,
        features: int,
        mode: BagMode = "mean",
        *,
        padding_idx: int | None = None,
        include_last_offset: bool = False,
        network: Network = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, num_embeddings, features, **keywords)
        own = bag_keywords(num_embeddings, mode, padding_idx, include_last_offset)
        made = drawn_layer("embedding_bag", spec, param_dtype, rngs.params(), variance=1 / features, **own)
        super().__init__(made, dtype=dtype)


class TNTensorLinear(TNModule):
    """A linear map between tensors along their last axes, as `nnx.LinearGeneral`.

    Inputs are (..., *in_features), outputs (..., *out_features).

    Args:
        in_features: Sizes of the input's axes.
        out_features: Sizes of the output's axes; () for one number.
        use_bias: Whether to add a learned tensor, stored as a vector.
        network: A template or a spec; unless it has modes, the axes are the modes.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes.
    """

    @checks_arguments(in_features=shape, out_features=shape)
    def __init__(
        self,
        in_features: tuple[int, ...],
        out_features: tuple[int, ...],
        *,
        use_bias: bool = True,
        network: Network = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        keywords |= tensor_modes(network, in_features, out_features, keywords)
        spec = make_spec(network, prod(in_features), prod(out_features), bias=use_bias, **keywords)
        own: dict[str, Any] = {"in_shape": tuple(in_features), "out_shape": tuple(out_features)}
        super().__init__(drawn_layer("tensor_linear", spec, param_dtype, rngs.params(), **own), dtype=dtype)


class TNBilinear(TNModule):
    """A bilinear map y_o = sum_ij W_oij a_i b_j + bias_o whose weight is a tensor network; flax has none.

    Args:
        in1_features: Size of each first input.
        in2_features: Size of each second input.
        out_features: Size of each output.
        use_bias: Whether to add a learned vector.
        network: A template or a spec, as `tnl.nn.TNBilinear` takes them.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
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
        *,
        use_bias: bool = True,
        network: Network = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        spec = pair_spec(network, in1_features, in2_features, out_features, bias=use_bias, **keywords)
        own: dict[str, Any] = {"in1_features": in1_features, "in2_features": in2_features}
        super().__init__(drawn_layer("bilinear", spec, param_dtype, rngs.params(), **own), dtype=dtype)
