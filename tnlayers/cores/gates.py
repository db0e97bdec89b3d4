"""The arithmetic of recurrent cells: one step from what the input and the hidden state give to the gates.

A state is a tuple: (hidden, cell) of an LSTM, (hidden,) of all others. Gates stand in torch's order, by torch's
equations, so that cores mean the same on every backend (LSTM: Hochreiter and Schmidhuber 1997; GRU: Cho et al. 2014,
the reset gate behind the projection).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array

State: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Mode:
    """One kind of recurrent cell.

    Attributes:
        gates: How many vectors of the hidden state's size each projection gives.
        states: How many arrays a state has.
        step: The new state from the gates' shares of the input and of the hidden state, and the old state.
    """

    gates: int
    states: int
    step: Callable[[Arithmetic, Array, Array, State], State]


def _parts(gates: Array, count: int) -> list[Array]:
    size = gates.shape[-1] // count
    return [gates[..., k * size : (k + 1) * size] for k in range(count)]


def _lstm(ops: Arithmetic, from_x: Array, from_h: Array, state: State) -> State:
    enter, forget, new, leave = _parts(from_x + from_h, 4)
    cell = ops.sigmoid(forget) * state[1] + ops.sigmoid(enter) * ops.tanh(new)
    return ops.sigmoid(leave) * ops.tanh(cell), cell


def _gru(ops: Arithmetic, from_x: Array, from_h: Array, state: State) -> State:
    reset_x, update_x, new_x = _parts(from_x, 3)
    reset_h, update_h, new_h = _parts(from_h, 3)
    reset, update = ops.sigmoid(reset_x + reset_h), ops.sigmoid(update_x + update_h)
    new = ops.tanh(new_x + reset * new_h)
    return (new + update * (state[0] - new),)


def _tanh(ops: Arithmetic, from_x: Array, from_h: Array, _: State) -> State:
    return (ops.tanh(from_x + from_h),)


def _relu(ops: Arithmetic, from_x: Array, from_h: Array, _: State) -> State:
    return (ops.relu(from_x + from_h),)


MODES = {  # by the names that torch's own modules have for them
    "LSTM": Mode(4, 2, _lstm),
    "GRU": Mode(3, 1, _gru),
    "RNN_TANH": Mode(1, 1, _tanh),
    "RNN_RELU": Mode(1, 1, _relu),
}


def rnn_mode(nonlinearity: str) -> str:
    """The mode of a plain recurrent network.

    Raises:
        TNLayersError: If the nonlinearity is neither "tanh" nor "relu".
    """
    if nonlinearity not in ("tanh", "relu"):
        raise TNLayersError(f"nonlinearity={nonlinearity!r} must be 'tanh' or 'relu', as in nn.RNN.")
    return f"RNN_{nonlinearity.upper()}"
