"""`TNLSTM`, `TNGRU` and `TNRNN`: recurrent layers over sequences as Flax NNX modules, in the words of `nnx.RNN`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from flax import nnx

from tnlayers.cores.gates import rnn_mode
from tnlayers.declare.arguments import CHECKS, checks_arguments, flag
from tnlayers_backends.jax.module import RUNTIME
from tnlayers_backends.jax.nnx_dropout import drops_by, make_dropout
from tnlayers_backends.jax.nnx_layers import Network, TNModule
from tnlayers_backends.jax.recurrent import check_stacked, drawn_recurrent

_CHECKS = {"hidden_features": CHECKS["hidden_size"], "dropout_rate": CHECKS["dropout"]}
_CHECKS |= dict.fromkeys(("time_major", "return_carry", "use_bias", "deterministic"), flag)


class TNSequence(TNModule):
    """What the recurrent layers share; abstract. One cell of Flax is `TNLSTMCell`, inside `nnx.RNN`.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        in_features: Size of each input vector.
        hidden_features: Size of the hidden state.
        num_layers: Layers one on the other.
        bidirectional: Whether each layer runs in both directions; outputs are then of twice the size.
        time_major: Whether sequences are (steps, batch, size) rather than (batch, steps, size).
        return_carry: Whether a call returns the last states too, before the outputs.
        use_bias: Whether the projections add a bias.
        dropout_rate: Probability of dropping an entry of a layer's output before the next layer, in training.
        deterministic: Whether nothing is dropped; `module.eval()` and `module.train()` change it.
        network: The network of all projections.
        dtype: Of the computation; None for what inputs and parameters promote to.
        param_dtype: Of the parameters.
        rngs: Draws them, by its stream "params"; what is dropped, by "dropout".
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If a size is out of range, or the network does not fit a projection; if `dropout_rate` is given
            to a single layer, or without a stream to draw by.
    """

    @checks_arguments(**_CHECKS)
    def __init__(
        self,
        mode: str,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        time_major: bool = False,
        return_carry: bool = False,
        use_bias: bool = True,
        proj_size: int = 0,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        network: Network = "mpo",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        own: dict[str, Any] = {"use_bias": use_bias, "bidirectional": bidirectional, "proj_size": proj_size}
        own |= {"network": network, "dtype": param_dtype, "key": rngs.params(), "batch_first": not time_major}
        super().__init__(
            drawn_recurrent(mode, in_features, hidden_features, num_layers, **own, **keywords), dtype=dtype
        )
        self.return_carry = return_carry
        check_stacked(dropout_rate, num_layers, "dropout_rate")
        self.dropout = make_dropout(dropout_rate, deterministic, rngs)

    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: Any = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Any:
        """Run sequences.

        Args:
            inputs: (batch, steps, in_features), (steps, batch, in_features) if `time_major`, or (steps, in_features).
            initial_carry: States to begin with, (layers * directions, batch, size); zeros if None. Those of an LSTM are
                (cell, hidden), as flax has them.
            deterministic: Whether nothing is dropped between layers; as the module has it if None.
            rngs: Says what is dropped, by its stream "dropout"; the module's own if None.

        Returns:
            The outputs of all steps; (carry, outputs) if `return_carry`.
        """
        state = initial_carry if initial_carry is None else _turned(initial_carry)
        drops_by(self.dropout.rate, rngs)
        at = replace(RUNTIME, between=lambda x: self.dropout(x, deterministic=deterministic, rngs=rngs))
        outputs, carry = self._run(at, (inputs, state), {})
        return (_turned(carry), outputs) if self.return_carry else outputs


def _turned(state: Any) -> Any:
    """(hidden, cell) as (cell, hidden), and back; a single state as it is."""
    return tuple(reversed(state)) if isinstance(state, (tuple, list)) else state


class TNLSTM(TNSequence):
    """An LSTM over whole sequences, with tensor networks for its kernels; see `TNSequence` for the arguments.

    Args:
        in_features: Size of each input vector.
        hidden_features: Size of the hidden state.
        num_layers: Layers one on the other.
        proj_size: Size that the output is projected to; 0 for none.
        rngs: Draws the parameters, by its stream "params".
        **keywords: As `TNSequence` takes them.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.nnx.TNLSTM(40, 64, network="mpo(cores=2, bond=8)", return_carry=True, rngs=nnx.Rngs(0))
        >>> (cell, hidden), y = layer(jnp.ones((3, 5, 40)))
        >>> hidden.shape, y.shape
        ((1, 3, 64), (3, 5, 64))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        sizes = (in_features, hidden_features, num_layers)
        super().__init__("LSTM", *sizes, proj_size=proj_size, rngs=rngs, **keywords)


class TNGRU(TNSequence):
    """A GRU over whole sequences, with tensor networks for its kernels; see `TNSequence` for the arguments.

    Args:
        in_features: Size of each input vector.
        hidden_features: Size of the hidden state.
        num_layers: Layers one on the other.
        rngs: Draws the parameters, by its stream "params".
        **keywords: As `TNSequence` takes them.
    """

    def __init__(
        self, in_features: int, hidden_features: int, num_layers: int = 1, *, rngs: nnx.Rngs, **keywords: Any
    ) -> None:
        super().__init__("GRU", in_features, hidden_features, num_layers, rngs=rngs, **keywords)


class TNRNN(TNSequence):
    """A simple recurrent layer over whole sequences, with tensor networks for its kernels; see `TNSequence`.

    Args:
        in_features: Size of each input vector.
        hidden_features: Size of the hidden state.
        num_layers: Layers one on the other.
        nonlinearity: "tanh" or "relu".
        rngs: Draws the parameters, by its stream "params".
        **keywords: As `TNSequence` takes them.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        rngs: nnx.Rngs,
        **keywords: Any,
    ) -> None:
        sizes = (in_features, hidden_features, num_layers)
        super().__init__(rnn_mode(nonlinearity), *sizes, rngs=rngs, **keywords)
