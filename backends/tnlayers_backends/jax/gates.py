"""The gates of recurrent cells on jax, by torch's equations, so that cores mean the same in both frameworks."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def lstm(of_input: jax.Array, of_hidden: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of an LSTM (Hochreiter and Schmidhuber 1997), as `torch.nn.LSTMCell` has it.

    Args:
        of_input: The input's projection, (..., 4 hidden): input gate, forget gate, candidate, output gate.
        of_hidden: The hidden state's projection, likewise.
        cell: The cell's state, (..., hidden).

    Returns:
        The new hidden state and the new state of the cell.
    """
    i, f, g, o = jnp.split(of_input + of_hidden, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def gru(of_input: jax.Array, of_hidden: jax.Array, hidden: jax.Array) -> jax.Array:
    """One step of a GRU (Cho et al. 2014), as `torch.nn.GRUCell` has it: the reset gate acts behind the projection.

    Args:
        of_input: The input's projection, (..., 3 hidden): reset gate, update gate, candidate.
        of_hidden: The hidden state's projection, likewise.
        hidden: The hidden state, (..., hidden).

    Returns:
        The new hidden state.
    """
    (r, z, n), (hr, hz, hn) = jnp.split(of_input, 3, axis=-1), jnp.split(of_hidden, 3, axis=-1)
    update = jax.nn.sigmoid(z + hz)
    return (1 - update) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn) + update * hidden
