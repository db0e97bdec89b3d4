"""Layers of cores as Equinox modules: names and order of arguments are those of `equinox.nn`."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from tnlayers.cores.gates import MODES, rnn_mode
from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers_backends.jax.linear import JaxLinear, drawn
from tnlayers_backends.jax.primitives import OPS


class TNLinear(eqx.Module):
    """`eqx.nn.Linear` whose weight is a tensor network; vectors of any leading shape go through at once.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        use_bias: Whether to add a learned vector.
        dtype: Of the parameters; jax's default if None.
        network: The network: a template, such as "mpo(bond=16)", or a spec.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`; and `in_modes`, `out_modes`.

    Raises:
        TNLayersError: If the network does not fit the sizes.

    Example:
        >>> import jax
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.eqx.TNLinear(784, 256, network="mpo(bond=16)", key=jax.random.key(0))
        >>> layer(jax.numpy.ones(784)).shape
        (256,)
        >>> jax.vmap(layer)(jax.numpy.ones((5, 784))).shape
        (5, 256)
    """

    layer: JaxLinear
    in_features: int = eqx.field(static=True)
    out_features: int = eqx.field(static=True)
    use_bias: bool = eqx.field(static=True)

    @checks_arguments()
    def __init__(
        self,
        in_features: int,
        out_features: int,
        use_bias: bool = True,
        dtype: Any = None,
        *,
        network: str | Spec = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        spec = make_spec(network, in_features, out_features, bias=use_bias, **keywords)
        self.layer = drawn(spec, jnp.zeros(0).dtype if dtype is None else dtype, key)  # as Equinox chooses
        self.in_features, self.out_features, self.use_bias = in_features, out_features, use_bias

    @property
    def weight(self) -> jax.Array:
        """The weight matrix, (out_features, in_features), rebuilt at each access."""
        return self.layer.to_dense()

    @property
    def bias(self) -> jax.Array | None:
        """A vector of out_features, or None."""
        return self.layer.bias

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Apply the layer to vectors of shape (..., in_features); `key` is ignored, as in Equinox."""
        return self.layer(x)


class MPOLinear(TNLinear):
    """A `TNLinear` whose network is a matrix product operator (arXiv 1904.06194); drop-in for `eqx.nn.Linear`.

    Args:
        in_features: Size of each input vector.
        out_features: Size of each output vector.
        use_bias: Whether to add a learned vector.
        dtype: Of the parameters; jax's default if None.
        bond_dim: The bond dimension (TT-rank), one number or one per bond.
        cores: How many cores; 4 if None and no modes are given.
        in_modes: Factors of in_features, one per core; balanced ones if None.
        out_modes: Factors of out_features, likewise.
        key: Draws the parameters.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        use_bias: bool = True,
        dtype: Any = None,
        *,
        bond_dim: int | tuple[int, ...] = 16,
        cores: int | None = None,
        in_modes: tuple[int, ...] | None = None,
        out_modes: tuple[int, ...] | None = None,
        key: jax.Array,
    ) -> None:
        own: dict[str, Any] = {"bond_dim": bond_dim, "cores": cores, "in_modes": in_modes, "out_modes": out_modes}
        super().__init__(in_features, out_features, use_bias, dtype, network="mpo", key=key, **own)


class _Cell(eqx.Module):
    """What the cells share: `ih` maps the input to all gates, `hh` the hidden state; abstract.

    Args:
        input_size: Size of each input.
        hidden_size: Size of the hidden state.
        use_bias: Whether both projections add a bias.
        dtype: Of the parameters; jax's default if None.
        key: Draws the parameters.
        **keywords: Of both projections, as `TNLinear` takes them.
    """

    _mode: ClassVar[str]
    ih: TNLinear
    hh: TNLinear
    input_size: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        use_bias: bool = True,
        dtype: Any = None,
        *,
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        first, second = jax.random.split(key)
        self.ih = TNLinear(input_size, MODES[self._mode].gates * hidden_size, use_bias, dtype, key=first, **keywords)
        self.hh = TNLinear(hidden_size, MODES[self._mode].gates * hidden_size, use_bias, dtype, key=second, **keywords)
        self.input_size, self.hidden_size = input_size, hidden_size


class TNLSTMCell(_Cell):
    """`eqx.nn.LSTMCell` with tensor networks for its weights; see `TNLinear` for the arguments."""

    _mode = "LSTM"

    def __call__(
        self, input: jax.Array, hidden: tuple[jax.Array, jax.Array], *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """One step: an input and (hidden, cell) to the new (hidden, cell)."""
        state, cell = MODES["LSTM"].step(OPS, self.ih(input), self.hh(hidden[0]), hidden)
        return state, cell


class TNGRUCell(_Cell):
    """`eqx.nn.GRUCell` with tensor networks for its weights; see `TNLinear` for the arguments."""

    _mode = "GRU"

    def __call__(self, input: jax.Array, hidden: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """One step: an input and the hidden state to the new hidden state."""
        state: jax.Array
        (state,) = MODES["GRU"].step(OPS, self.ih(input), self.hh(hidden), (hidden,))
        return state


class TNRNNCell(_Cell):
    """A simple recurrent cell with tensor networks for its weights; Equinox has none.

    Args:
        input_size: Size of each input.
        hidden_size: Size of the hidden state.
        use_bias: Whether both projections add a bias.
        nonlinearity: "tanh" or "relu".
        dtype: Of the parameters; jax's default if None.
        key: Draws the parameters.
        **keywords: Of both projections, as `TNLinear` takes them.

    Raises:
        TNLayersError: If the nonlinearity is none of the two, or a network does not fit.
    """

    _mode = "RNN_TANH"
    nonlinearity: str = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        use_bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = None,
        *,
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        rnn_mode(nonlinearity)  # refuses others
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, use_bias, dtype, key=key, **keywords)

    def __call__(self, input: jax.Array, hidden: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """One step: an input and the hidden state to the new hidden state."""
        state: jax.Array
        (state,) = MODES[rnn_mode(self.nonlinearity)].step(OPS, self.ih(input), self.hh(hidden), (hidden,))
        return state
