"""`TNLSTM`, `TNGRU` and `TNRNN`: recurrent layers over whole sequences as Equinox modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax

from tnlayers.cores.gates import rnn_mode
from tnlayers.declare.arguments import CHECKS, checks_arguments, flag
from tnlayers.errors import TNLayersError
from tnlayers_backends.jax.eqx_layers import Network, TNModule, default_dtype
from tnlayers_backends.jax.module import RUNTIME, as_arrays
from tnlayers_backends.jax.recurrent import check_stacked, drawn_recurrent


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
        dropout_p: Probability of dropping an entry of a layer's output before the next layer, in training.
        inference: Whether nothing is dropped; `eqx.nn.inference_mode` changes it.
        network: The network of all projections.
        key: Draws the parameters.
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If a size is out of range, or the network does not fit a projection; if `dropout_p` is given to a
            single layer, or a call that drops has no key.
    """

    dropout: eqx.nn.Dropout | None

    @checks_arguments(use_bias=flag, inference=flag, dropout_p=CHECKS["dropout"])
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
        dropout_p: float = 0.0,
        inference: bool = False,
        network: Network = "mpo",
        key: jax.Array,
        **keywords: Any,
    ) -> None:
        own: dict[str, Any] = {"use_bias": use_bias, "bidirectional": bidirectional, "proj_size": proj_size}
        own |= {"network": network, "dtype": default_dtype(dtype), "key": key}
        super().__init__(drawn_recurrent(mode, input_size, hidden_size, num_layers, **own, **keywords))
        check_stacked(dropout_p, num_layers, "dropout_p")
        # Equinox's dropout has leaves that are no arrays: without a rate the leaves are the parameters alone.
        self.dropout = eqx.nn.Dropout(dropout_p, inference) if dropout_p else None

    def __call__(
        self, *inputs: Any, key: jax.Array | None = None, inference: bool | None = None, **options: Any
    ) -> Any:
        """Run a sequence, or a batch of them.

        Args:
            *inputs: x, (steps, input_size) or (steps, batch, input_size); and hx, the state to begin with, or None.
            key: Says what is dropped between layers; needed where something is.
            inference: Whether nothing is dropped; as at construction if None.
            **options: The inputs that are given by name.

        Returns:
            The outputs of all steps, and the last state.
        """
        between = self._dropping(key, inference)
        if between is None:
            return super().__call__(*inputs, **options)
        at = replace(RUNTIME, between=between)
        layer: Any = self.layer
        given, named = as_arrays((inputs, options))
        return layer.form.apply(at, layer.params, *given, **named)

    def _dropping(self, key: jax.Array | None, inference: bool | None) -> Callable[[jax.Array], jax.Array] | None:
        """What is done between the layers; None for nothing."""
        dropout = self.dropout
        if dropout is None or (dropout.inference if inference is None else inference):
            return None
        if key is None:
            raise TNLayersError(
                f"This layer drops {dropout.p} of what lies between its layers, and the call has no key to draw by. "
                "Give key=jax.random.key(...), another one for each call; or inference=True, or the layer by "
                "eqx.nn.inference_mode, where nothing shall be dropped."
            )
        layer: Any = self.layer
        keys = iter(jax.random.split(key, layer.form.num_layers - 1))
        return lambda x: dropout(x, key=next(keys), inference=False)


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
