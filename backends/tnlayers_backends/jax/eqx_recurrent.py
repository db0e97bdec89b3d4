"""`TNLSTM`, `TNGRU` and `TNRNN`: recurrent layers over whole sequences as Equinox modules."""

from __future__ import annotations

from typing import Any

import jax

from tnlayers.cores.gates import rnn_mode
from tnlayers.declare.arguments import checks_arguments, flag
from tnlayers_backends.jax.eqx_layers import Network, TNModule, default_dtype
from tnlayers_backends.jax.recurrent import drawn_recurrent


class TNSequence(TNModule):
    """What the recurrent layers share; abstract. One cell of Equinox is `TNLSTMCell`, inside `jax.lax.scan`.

    A call takes a sequence (steps, input_size), or a batch of them (steps, batch, input_size), and a state to begin
    with, (layers * directions, size) or (layers * directions, batch, size): (hidden, cell) of an LSTM, as Equinox has
    it; zeros if it is left out. It gives the outputs of all steps and the last state.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        use_bias: Whether the projections add a bias.
        bidirectional: Whether each layer runs in both directions; outputs are then of twice the size.
        proj_size: Size that an LSTM's output is projected to; 0 for none.
        dtype: Of the parameters; jax's default if None.
        network: The network of all projections.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If a size is out of range, or the network does not fit a projection.
    """

    @checks_arguments(use_bias=flag)
    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        use_bias: bool = True,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = None,
        *,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        own: dict[str, Any] = {"use_bias": use_bias, "bidirectional": bidirectional, "proj_size": proj_size}
        own |= {"network": network, "dtype": default_dtype(dtype), "key": key}
        super().__init__(drawn_recurrent(mode, input_size, hidden_size, num_layers, **own, **keywords))


class TNLSTM(TNSequence):
    """An LSTM over whole sequences, with tensor networks for its weights; see `TNSequence` for the arguments.

    Args:
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        key: Draws the parameters.
        **keywords: As `TNSequence` takes them.

    Example:
        >>> import jax
        >>> import tnlayers as tnl
        >>> layer = tnl.jax.eqx.TNLSTM(40, 64, network="mpo(cores=2, bond=8)", key=jax.random.key(0))
        >>> y, (hidden, cell) = layer(jax.numpy.ones((5, 40)))
        >>> y.shape, hidden.shape
        ((5, 64), (1, 64))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, key: jax.Array, **keywords: Any
    ) -> None:
        super().__init__("LSTM", input_size, hidden_size, num_layers, key=key, **keywords)


class TNGRU(TNSequence):
    """A GRU over whole sequences, with tensor networks for its weights; see `TNSequence` for the arguments.

    Args:
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        key: Draws the parameters.
        **keywords: As `TNSequence` takes them.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, key: jax.Array, **keywords: Any
    ) -> None:
        super().__init__("GRU", input_size, hidden_size, num_layers, key=key, **keywords)


class TNRNN(TNSequence):
    """A simple recurrent layer over whole sequences, with tensor networks for its weights; see `TNSequence`.

    Args:
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        nonlinearity: "tanh" or "relu".
        key: Draws the parameters.
        **keywords: As `TNSequence` takes them.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *,
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        super().__init__(rnn_mode(nonlinearity), input_size, hidden_size, num_layers, key=key, **keywords)
