"""The arithmetic of recurrent cells: one step from what the input and the hidden state give to the gates.

A state is a tuple: (hidden, cell) of an LSTM, (hidden,) of all others. Gates stand in torch's order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from tnlayers.errors import TNLayersError

State: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Mode:
    """One kind of recurrent cell.

    Attributes:
        gates: How many vectors of the hidden state's size each projection gives.
        states: How many tensors a state has.
        step: The new state from the gates' shares of the input and of the hidden state, and the old state.
    """

    gates: int
    states: int
    step: Callable[[Tensor, Tensor, State], State]


def _lstm(from_x: Tensor, from_h: Tensor, state: State) -> State:
    enter, forget, new, leave = (from_x + from_h).chunk(4, -1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru(from_x: Tensor, from_h: Tensor, state: State) -> State:
    reset_x, update_x, new_x = from_x.chunk(3, -1)
    reset_h, update_h, new_h = from_h.chunk(3, -1)
    reset, update = torch.sigmoid(reset_x + reset_h), torch.sigmoid(update_x + update_h)
    return (torch.lerp(torch.tanh(new_x + reset * new_h), state[0], update),)


def _tanh(from_x: Tensor, from_h: Tensor, _: State) -> State:
    return (torch.tanh(from_x + from_h),)


def _relu(from_x: Tensor, from_h: Tensor, _: State) -> State:
    return (torch.relu(from_x + from_h),)


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
