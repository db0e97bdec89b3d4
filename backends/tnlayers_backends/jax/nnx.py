"""Layers of cores as Flax NNX modules: each core is an `nnx.Param`; arguments are named and ordered as in flax.nnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tnlayers.cores.gates import MODES, rnn_mode
from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers_backends.jax.linear import JaxLinear, drawn
from tnlayers_backends.jax.primitives import OPS


def hold(module: nnx.Module, arrays: Mapping[str, jax.Array], what: str, kinds: Mapping[str, Any]) -> None:
    """Make arrays variables of a module by their own names.

    Args:
        module: The module.
        arrays: By name.
        what: Whose they are, for the message.
        kinds: The kind of variable of each, such as `nnx.Param`.

    Raises:
        TNLayersError: If a name is one that the module uses itself.
    """
    for name, array in arrays.items():
        if hasattr(type(module), name) or name in vars(module):  # not `hasattr(module, ...)`, which runs properties
            raise TNLayersError(
                f"A core of {what} is named {name!r}, which this module uses itself; rename it in its network function."
            )
        setattr(module, name, kinds[name](array))


class TNLinear(nnx.Module):
    """`nnx.Linear` whose kernel is a tensor network.

    Its cores are parameters by their own names, and the bias is "bias". Inputs are (..., in_features), outputs
    (..., out_features). Parameters and inputs are promoted to one dtype before they are multiplied, as in flax.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        network: The network: a template, such as "mpo(bond=16)", a spec, or a layer of `backend="jax"`, whose
            parameters are then taken over.
        use_bias: Whether to add a learned vector.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes, or a core has a name that the module uses itself.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNLinear(784, 256, network="mpo(bond=16)", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((2, 3, 784))).shape
        (2, 3, 256)
        >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param))) - 256
        14848
    """

    @checks_arguments(network=None)  # a layer as well
    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        network: str | Spec | JaxLinear = "mpo",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        if isinstance(network, JaxLinear):
            layer = network
        else:
            spec = make_spec(network, in_features, out_features, bias=use_bias, **keywords)
            layer = drawn(spec, param_dtype, rngs.params())
        self.network_map = layer.map
        self.in_features, self.out_features = layer.spec.in_features, layer.spec.out_features
        self.use_bias, self.dtype = layer.spec.bias, dtype
        hold(self, layer.params, str(layer.spec), dict.fromkeys(layer.params, nnx.Param))

    @staticmethod
    def of(layer: JaxLinear, *, dtype: Any = None) -> TNLinear:
        """The module of a layer with its parameters: of `tnl.load(path, backend="jax")` or `tnl.to_backend(...)`.

        Args:
            layer: The layer.
            dtype: Of the computation, as at construction.
        """
        spec = layer.spec
        return TNLinear(spec.in_features, spec.out_features, network=layer, dtype=dtype, rngs=nnx.Rngs(0))

    @property
    def layer(self) -> JaxLinear:
        """The layer with the parameters of now: for `to_dense`, `norm2`, `plan_for`, `tnl.save`, `tnl.draw`."""
        names = [*self.network_map.shapes, *(["bias"] if self.use_bias else [])]
        return JaxLinear({name: getattr(self, name)[...] for name in names}, self.network_map)

    @property
    def spec(self) -> Spec:
        """The declaration."""
        return self.network_map.spec

    def __call__(self, inputs: Any) -> jax.Array:
        """Apply the layer to vectors of shape (..., in_features)."""
        layer, x = self.layer, jnp.asarray(inputs)
        dtype = self.dtype or jnp.result_type(x, *layer.params.values())
        return layer.apply({name: array.astype(dtype) for name, array in layer.params.items()}, x.astype(dtype))


class MPOLinear(TNLinear):
    """A `TNLinear` whose network is a matrix product operator (arXiv 1904.06194); drop-in for `nnx.Linear`.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        use_bias: Whether to add a learned vector.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params".
        bond_dim: The bond dimension (TT-rank), one number or one per bond.
        cores: How many cores; 4 if None and no modes are given.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        bond_dim: int | tuple[int, ...] = 16,
        cores: int | None = None,
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
    ) -> None:
        own: dict[str, Any] = {"bond_dim": bond_dim, "cores": cores, "in_modes": in_modes, "out_modes": out_modes}
        common: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        super().__init__(in_features, out_features, network="mpo", **common, **own)


class _Cell(nnx.RNNCellBase):
    """What the cells share: `ih` maps the input to all gates, `hh` the hidden state; abstract.

    Args:
        in_features: Size of each input.
        hidden_features: Size of the hidden state.
        rngs: Draws the parameters, by its stream "params".
        **keywords: Of both projections, as `TNLinear` takes them.
    """

    _mode: str

    def __init__(self, in_features: int, hidden_features: int, *, rngs: nnx.Rngs, **keywords: Any) -> None:
        self.in_features, self.hidden_features = in_features, hidden_features
        self.ih = TNLinear(in_features, MODES[self._mode].gates * hidden_features, rngs=rngs, **keywords)
        self.hh = TNLinear(hidden_features, MODES[self._mode].gates * hidden_features, rngs=rngs, **keywords)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of an input are features."""
        return 1

    def _zeros(self, input_shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros((*input_shape[:-1], self.hidden_features), self.ih.dtype or self.ih.layer.dtype)


class TNLSTMCell(_Cell):
    """`nnx.LSTMCell` with tensor networks for its kernels; see `TNLinear` for the arguments.

    Its carry is (cell, hidden), as flax has it.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> cell = tnl.jax.nnx.TNLSTMCell(40, 64, network="mpo(bond=8, cores=2)", rngs=nnx.Rngs(0))
        >>> nnx.RNN(cell)(jnp.ones((2, 5, 40))).shape
        (2, 5, 64)
    """

    _mode = "LSTM"

    def __call__(
        self, carry: tuple[jax.Array, jax.Array], inputs: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """One step.

        Args:
            carry: (cell, hidden), each (..., hidden_features).
            inputs: (..., in_features).

        Returns:
            The new carry, and the hidden state again.
        """
        hidden, cell = MODES["LSTM"].step(OPS, self.ih(inputs), self.hh(carry[1]), (carry[1], carry[0]))
        return (cell, hidden), hidden

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> tuple[jax.Array, jax.Array]:
        """Zeros for inputs of a shape (..., in_features)."""
        return self._zeros(input_shape), self._zeros(input_shape)


class _HiddenCell(_Cell):
    """A cell whose carry is the hidden state; abstract."""

    def __call__(self, carry: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step.

        Args:
            carry: The hidden state, (..., hidden_features).
            inputs: (..., in_features).

        Returns:
            The new hidden state, twice.
        """
        (hidden,) = MODES[self._mode].step(OPS, self.ih(inputs), self.hh(carry), (carry,))
        return hidden, hidden

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> jax.Array:
        """Zeros for inputs of a shape (..., in_features)."""
        return self._zeros(input_shape)


class TNGRUCell(_HiddenCell):
    """`nnx.GRUCell` with tensor networks for its kernels; see `TNLinear` for the arguments.

    Both projections have a bias, as in torch.
    """

    _mode = "GRU"


class TNSimpleCell(_HiddenCell):
    """`nnx.SimpleCell` with tensor networks for its kernels; see `TNLinear` for the arguments.

    Args:
        in_features: Size of each input.
        hidden_features: Size of the hidden state.
        nonlinearity: "tanh" or "relu".
        rngs: Draws the parameters, by its stream "params".
        **keywords: Of both projections, as `TNLinear` takes them.
    """

    def __init__(
        self, in_features: int, hidden_features: int, *, nonlinearity: str = "tanh", rngs: nnx.Rngs, **keywords: Any
    ) -> None:
        self._mode = rnn_mode(nonlinearity)
        super().__init__(in_features, hidden_features, rngs=rngs, **keywords)
