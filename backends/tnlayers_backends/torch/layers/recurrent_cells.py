"""`TNLSTMCell`, `TNGRUCell` and `TNRNNCell`: torch's recurrent cells with a network for each of their projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tnlayers.cores.gates import MODES, State, rnn_mode
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.computed import ComputedWeights
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.projections import Network, networks_of, projection, redraw
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS

_Cell = TypeVar("_Cell", nn.LSTMCell, nn.GRUCell, nn.RNNCell)


class TNRecurrentCell(ComputedWeights):
    """What the cells share: `ih` maps the input to all gates, `hh` the hidden state; abstract.

    Args:
        input_size: Size of each input.
        hidden_size: Size of the hidden state.
        bias: Whether both projections add a bias.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: The network of both projections.
        networks: Networks by projection, "ih" or "hh", in place of `network`; None is a dense one.
        seed: Draws the parameters; None takes torch's global generator.

    Raises:
        TNLayersError: If a network does not fit the sizes.
    """

    mode: str  # of MODES
    ih: TNLinear | nn.Linear
    hh: TNLinear | nn.Linear

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        sizes = {"ih": input_size, "hh": hidden_size}
        for number, (name, own) in enumerate(networks_of(("ih", "hh"), network, networks).items()):
            own_seed = None if seed is None else 2 * seed + number
            # Torch draws all weights and biases of a cell within 1 / sqrt(hidden_size).
            variance, out = 1 / (3 * hidden_size), MODES[self.mode].gates * hidden_size
            setattr(self, name, projection(sizes[name], out, bias, own, variance, device, dtype, own_seed))

    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw all parameters anew, as at construction with this seed."""
        for number, layer in enumerate((self.ih, self.hh)):
            redraw(layer, 1 / (3 * self.hidden_size), None if seed is None else 2 * seed + number)

    @property
    def weight_ih(self) -> Tensor:
        """The dense weight of the input's projection, rebuilt at each access, rows ordered as in torch's cell."""
        return self.ih.weight

    @property
    def weight_hh(self) -> Tensor:
        """The dense weight of the hidden state's projection, likewise."""
        return self.hh.weight

    @property
    def bias_ih(self) -> Tensor | None:
        """The bias of the input's projection."""
        return self.ih.bias

    @property
    def bias_hh(self) -> Tensor | None:
        """The bias of the hidden state's projection."""
        return self.hh.bias

    def _settings(self) -> dict[str, Any]:
        """What a cell of torch that computes the same is made with, beside its sizes."""
        weight = self.weight_ih
        return {"bias": self.bias, "device": weight.device, "dtype": weight.dtype}

    @torch.no_grad()
    def _copied_to(self, dense: _Cell) -> _Cell:
        for name, parameter in dense.named_parameters():
            parameter.copy_(getattr(self, name))
        return dense

    def _step(self, x: Tensor, state: State) -> State:
        return MODES[self.mode].step(OPS, self.ih(x), self.hh(state[0]), state)

    def _zeros(self, x: Tensor) -> Tensor:
        """A hidden state to begin with."""
        check_tensors(self, x=x)
        if x.shape[-1:] != (self.input_size,) or x.ndim > 2:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this cell takes (batch, {self.input_size}) or "
                f"({self.input_size},): one step at a time."
            )
        return x.new_zeros(*x.shape[:-1], self.hidden_size)

    def extra_repr(self) -> str:
        """Sizes, shown when the module is printed."""
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}"


class TNLSTMCell(TNRecurrentCell):
    """`nn.LSTMCell` with tensor networks for its weights; see `TNRecurrentCell` for the arguments.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> cell = tnl.nn.TNLSTMCell(40, 64, networks={"ih": "mpo(cores=2, bond=8)", "hh": "lowrank(rank=8)"}, seed=0)
        >>> state = None
        >>> for x in torch.zeros(5, 3, 40):  # five steps of a batch of three
        ...     state = cell(x, state)
        >>> state[0].shape
        torch.Size([3, 64])
    """

    mode = "LSTM"

    def to_cell(self) -> nn.LSTMCell:
        """An `nn.LSTMCell` that computes the same, with parameters of its own."""
        return self._copied_to(nn.LSTMCell(self.input_size, self.hidden_size, **self._settings()))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """One step: the new hidden state and cell state, (batch, hidden_size) each.

        Args:
            x: (batch, input_size) or (input_size,).
            state: Hidden state and cell state; zeros if None.
        """
        zeros = self._zeros(x)
        hidden, cell = self._step(x, (zeros, zeros) if state is None else state)
        return hidden, cell


class _HiddenState(TNRecurrentCell):
    """A cell whose only state is the hidden one."""

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """One step: the new hidden state, (batch, hidden_size).

        Args:
            x: (batch, input_size) or (input_size,).
            hidden: Hidden state; zeros if None.
        """
        zeros = self._zeros(x)
        new: Tensor = self._step(x, (zeros if hidden is None else hidden,))[0]
        return new


class TNGRUCell(_HiddenState):
    """`nn.GRUCell` with tensor networks for its weights; see `TNRecurrentCell` for the arguments.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> cell = tnl.nn.TNGRUCell(40, 64, network="mpo(cores=2, bond=8)", seed=0)
        >>> cell(torch.zeros(3, 40)).shape
        torch.Size([3, 64])
    """

    mode = "GRU"

    def to_cell(self) -> nn.GRUCell:
        """An `nn.GRUCell` that computes the same, with parameters of its own."""
        return self._copied_to(nn.GRUCell(self.input_size, self.hidden_size, **self._settings()))


class TNRNNCell(_HiddenState):
    """`nn.RNNCell` with tensor networks for its weights; see `TNRecurrentCell` for the other arguments.

    Args:
        nonlinearity: "tanh" or "relu".

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> cell = tnl.nn.TNRNNCell(40, 64, nonlinearity="relu", network="mpo(cores=2, bond=8)", seed=0)
        >>> cell(torch.zeros(3, 40)).shape
        torch.Size([3, 64])
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        self.mode = rnn_mode(nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype, network=network, networks=networks, seed=seed)

    def to_cell(self) -> nn.RNNCell:
        """An `nn.RNNCell` that computes the same, with parameters of its own."""
        own = self._settings() | {"nonlinearity": self.nonlinearity}
        return self._copied_to(nn.RNNCell(self.input_size, self.hidden_size, **own))
