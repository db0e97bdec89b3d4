"""`TNLSTM`, `TNGRU` and `TNRNN`: torch's recurrent layers with tensor networks for their weights; drop-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tnlayers.cores.gates import rnn_mode
from tnlayers.declare.arguments import checks_arguments, device, floating
from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.projections import Network
from tnlayers_backends.torch.layers.sequence import TNRecurrent

Sequence: TypeAlias = "Tensor | PackedSequence"


class TNLSTM(TNRecurrent):
    """`nn.LSTM` with tensor networks for its weights; see `TNRecurrent` for the arguments.

    Shape:
        Input (steps, batch, input_size), (batch, steps, input_size) if `batch_first`, (steps, input_size), or a
        PackedSequence; output likewise, and the last hidden and cell states, as torch's.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNLSTM(40, 64, num_layers=2, network="mpo(cores=2, bond=8)", seed=0)
        >>> y, (hidden, cell) = layer(torch.zeros(5, 3, 40))
        >>> y.shape, hidden.shape
        (torch.Size([5, 3, 64]), torch.Size([2, 3, 64]))
        >>> layer.weight_hh_l1.shape  # rebuilt
        torch.Size([256, 64])
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        if proj_size >= hidden_size:
            raise TNLayersError(f"proj_size={proj_size}: it must be smaller than hidden_size={hidden_size}.")
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", *sizes, device, dtype, network, networks, seed)

    def to_lstm(self) -> nn.LSTM:
        """An `nn.LSTM` that computes the same, with parameters of its own."""
        sizes = (self.input_size, self.hidden_size, self.num_layers)
        dense = nn.LSTM(*sizes, proj_size=self.proj_size, **self._settings())
        self._copied_to(dense)
        return dense

    def forward(self, x: Sequence, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Sequence, tuple[Tensor, Tensor]]:
        """Run a sequence: the output of every step, and (hidden, cell) after the last.

        Args:
            x: The sequence.
            hx: Hidden and cell state to begin with, (layers * directions, batch, size) each; zeros if None.
        """
        y, (hidden, cell) = self._run(x, hx)
        return y, (hidden, cell)


class _HiddenState(TNRecurrent):
    """A layer whose only state is the hidden one."""

    def forward(self, x: Sequence, hx: Tensor | None = None) -> tuple[Sequence, Tensor]:
        """Run a sequence: the output of every step, and the hidden state after the last.

        Args:
            x: The sequence.
            hx: Hidden state to begin with, (layers * directions, batch, size); zeros if None.
        """
        y, (hidden,) = self._run(x, hx)
        return y, hidden


class TNGRU(_HiddenState):
    """`nn.GRU` with tensor networks for its weights; see `TNRecurrent` for the arguments, `TNLSTM` for shapes.

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNGRU(40, 64, batch_first=True, bidirectional=True, network="mpo(cores=2, bond=8)", seed=0)
        >>> y, hidden = layer(torch.zeros(3, 5, 40))
        >>> y.shape, hidden.shape
        (torch.Size([3, 5, 128]), torch.Size([2, 3, 64]))
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", *sizes, 0, device, dtype, network, networks, seed)

    def to_gru(self) -> nn.GRU:
        """An `nn.GRU` that computes the same, with parameters of its own."""
        dense = nn.GRU(self.input_size, self.hidden_size, self.num_layers, **self._settings())
        self._copied_to(dense)
        return dense


class TNRNN(_HiddenState):
    """`nn.RNN` with tensor networks for its weights; see `TNRecurrent` for the other arguments, `TNLSTM` for shapes.

    Args:
        nonlinearity: "tanh" or "relu".

    Example:
        >>> import torch
        >>> import tnlayers as tnl
        >>> layer = tnl.nn.TNRNN(40, 64, nonlinearity="relu", network="mpo(cores=2, bond=8)", seed=0)
        >>> layer(torch.zeros(5, 3, 40))[0].shape
        torch.Size([5, 3, 64])
    """

    @checks_arguments(device=device, dtype=floating)
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        network: Network = "mpo",
        networks: Mapping[str, Network] | None = None,
        seed: int | None = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(rnn_mode(nonlinearity), *sizes, 0, device, dtype, network, networks, seed)
        self.nonlinearity = nonlinearity

    def to_rnn(self) -> nn.RNN:
        """An `nn.RNN` that computes the same, with parameters of its own."""
        sizes = (self.input_size, self.hidden_size, self.num_layers)
        dense = nn.RNN(*sizes, nonlinearity=self.nonlinearity, **self._settings())
        self._copied_to(dense)
        return dense
