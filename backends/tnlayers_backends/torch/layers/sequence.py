"""Running recurrent layers over whole sequences, a network for each of their weights.

A sequence of T steps can be run in two ways; `TNRecurrent.by_steps` chooses, with the rates of the layer's device:

    rebuilt    every weight is rebuilt from its cores once per sequence, differentiably, and torch's own kernel runs all
               steps: the price is one rebuilding, whatever T is, and the dense weights are in memory meanwhile
    by steps   the input's projection of all steps is one call, then a loop in Python passes the hidden state on
               the cores; no weight is rebuilt. Cheaper only where weights are too large for T steps to repay that
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tnlayers.cores.gates import State
from tnlayers.cores.recurrent import Recurrence, check_sequence
from tnlayers.errors import TNLayersError
from tnlayers.machine.rates import Machine
from tnlayers_backends.torch.layers.computed import ComputedWeights, plain
from tnlayers_backends.torch.layers.kind import rates_of
from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.module import is_recorded
from tnlayers_backends.torch.layers.projections import Network, networks_of, projection, redraw
from tnlayers_backends.torch.run.inputs import check_tensors
from tnlayers_backends.torch.run.primitives import OPS

_KERNELS = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}
_CALLS_PER_STEP = 12  # operations of torch for the gates of one step


class TNRecurrent(ComputedWeights):
    """What the three layers share; abstract.

    Projections are submodules: `ih_l0` of the input, `hh_l0` of the hidden state, `hr_l0` of an LSTM with `proj_size`;
    of deeper layers `_l1` and so on, of the backward direction `_l0_reverse`.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        bias: Whether the projections of input and hidden state add a bias.
        batch_first: Whether sequences are (batch, steps, size) rather than (steps, batch, size).
        dropout: Probability of dropping what a layer gives to the next, in training.
        bidirectional: Whether each layer runs in both directions.
        proj_size: Size that an LSTM's output is projected to; 0 for none.
        device: Where the parameters live.
        dtype: Their dtype; torch's default dtype if None.
        network: The network of all projections.
        networks: Networks by projection ("hh_l1") in place of `network`; None is a dense one.
        seed: Draws the parameters; None takes torch's global generator.

    Raises:
        TNLayersError: If a network does not fit the sizes.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        network: Network,
        networks: Mapping[str, Network] | None,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        self._recurrence = Recurrence(mode=mode, bidirectional=bidirectional, proj_size=proj_size, **sizes)
        self._known: dict[tuple[Machine, int, int], bool] = {}
        wanted = self.projections()
        for number, (name, own) in enumerate(networks_of(tuple(wanted), network, networks).items()):
            own_seed = None if seed is None else len(wanted) * seed + number
            with_bias = bias and not name.startswith("hr")
            # Torch draws all weights and biases within 1 / sqrt(hidden_size).
            made = projection(*wanted[name], with_bias, own, 1 / (3 * hidden_size), device, dtype, own_seed)
            self.add_module(name, made)

    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw all parameters anew, as at construction with this seed."""
        names = self.projections()
        for number, name in enumerate(names):
            own_seed = None if seed is None else len(names) * seed + number
            redraw(getattr(self, name), 1 / (3 * self.hidden_size), own_seed)

    def projections(self) -> dict[str, tuple[int, int]]:
        """The sizes (in, out) of every projection by name, in torch's order of weights."""
        return self._recurrence.projections()

    def _directions(self, layer: int) -> list[str]:
        return self._recurrence.directions(layer)

    def __setattr__(self, name: str, value: Any) -> None:
        """As torch's; how a projection's weight is rebuilt is planned at once, since compiled code cannot plan."""
        super().__setattr__(name, value)
        _plan_weight(value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """As torch's, with the same plans."""
        super().add_module(name, module)
        _plan_weight(module)

    def __getattr__(self, name: str) -> Any:
        """Also `weight_ih_l0`, `bias_hh_l0` and the like as torch names them; weights are rebuilt at each access."""
        kind, _, part = name.partition("_")
        if kind in ("weight", "bias") and part in self._modules:
            return getattr(self._modules[part], kind)
        return super().__getattr__(name)

    def _is_computed(self, name: str) -> bool:
        kind, _, part = name.partition("_")
        return kind in ("weight", "bias") and part in self.__dict__.get("_modules", {})

    def flatten_parameters(self) -> None:
        """Nothing: torch's layers lay their weights out for its kernel here, and cores have another layout."""

    def by_steps(self, steps: int, batch: int) -> bool:
        """Whether the estimate is that the loop over steps is faster than rebuilding the weights.

        Args:
            steps: Of the sequence.
            batch: Sequences at once.
        """
        key = (rates_of(self), 1 << max(steps - 1, 0).bit_length(), 1 << max(batch - 1, 0).bit_length())
        if key not in self._known:
            self._known[key] = self._faster_by_steps(*key)
        return self._known[key]

    def _faster_by_steps(self, rates: Machine, steps: int, batch: int) -> bool:
        loop = kernel = 0.0
        for name, (inputs, outputs) in self.projections().items():
            calls, rows = (1, steps * batch) if name.startswith("ih") else (steps, batch)
            layer = self._modules[name]
            dense = dense_seconds(inputs, outputs, calls, rows, rates)
            loop += _CALLS_PER_STEP * calls * rates.seconds_per_call if name.startswith("hh") else 0.0
            loop += carried_seconds(layer, calls, rows) if isinstance(layer, TNLinear) else dense
            kernel += dense + (rebuilding_seconds(layer) if isinstance(layer, TNLinear) else 0.0)
        return loop < kernel

    def _run(self, x: Tensor | PackedSequence, hx: Any) -> tuple[Tensor | PackedSequence, State]:
        """The outputs and the last states of a sequence, of whatever form torch's layers take."""
        if isinstance(x, PackedSequence):
            return self._packed(x, hx)
        check_tensors(self, x=x)
        check_sequence(x, self._recurrence, self.batch_first, type(self).__name__)
        single = x.ndim == 2
        if single:
            x, hx = x.unsqueeze(1), _mapped(hx, lambda part: part.unsqueeze(1))
        elif self.batch_first:
            x = x.transpose(0, 1)
        state = self._begin(x, x.shape[1], hx)  # x: (steps, batch, input_size)
        if is_recorded(x) or not self.by_steps(x.shape[0], x.shape[1]):
            y, ends = self._kernel(x, state)
        else:
            y, ends = self._stepwise(x, state)
        if single:
            return y.squeeze(1), tuple(end.squeeze(1) for end in ends)
        return y.transpose(0, 1) if self.batch_first else y, ends

    def _packed(self, x: PackedSequence, hx: Any) -> tuple[PackedSequence, State]:
        """Sequences of different lengths: always by torch's kernel."""
        batch, order, back = int(x.batch_sizes[0]), x.sorted_indices, x.unsorted_indices
        if order is not None:
            hx = _mapped(hx, lambda part: part.index_select(1, order))
        y, ends = self._kernel(x.data, self._begin(x.data, batch, hx), x.batch_sizes)
        if back is not None:
            ends = tuple(end.index_select(1, back) for end in ends)
        return PackedSequence(y, x.batch_sizes, order, back), ends

    def _begin(self, x: Tensor, batch: int, hx: Any) -> State:
        own = next(self.parameters()).dtype  # torch's kernel would take weights rounded to the input's
        if x.dtype != own and not torch.is_autocast_enabled(x.device.type):
            raise TNLayersError(
                f"{type(self).__name__} has parameters of {own} and is called with {x.dtype}. Convert the input, "
                f"x.to({own}), or the layer, layer.to(x.dtype)."
            )
        return self._recurrence.begin(OPS, x, batch, hx)

    def _kernel(self, x: Tensor, state: State, batch_sizes: Tensor | None = None) -> tuple[Tensor, State]:
        """Torch's own kernel on weights rebuilt from the cores: outputs, and the last states."""
        rebuilt: list[Tensor] = []  # in torch's order
        for layer in range(self.num_layers):
            for suffix in self._directions(layer):
                kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
                kinds += ["weight_hr"] if self.proj_size else []
                rebuilt += [getattr(self, f"{kind}_{suffix}") for kind in kinds]
        rebuilt = [plain(weight).to(x.dtype) for weight in rebuilt]  # under autocast they were made in half precision
        if self.mode == "LSTM" and torch.is_grad_enabled() and is_dynamo_compiling():
            x = _with_gradient(x, rebuilt[0])
        begin = state if len(state) > 1 else state[0]
        settings = (rebuilt, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        kernel: Any = _KERNELS[self.mode]
        with _no_word_of_layout() if x.is_cuda else nullcontext():
            y, *ends = (
                kernel(x, begin, *settings, False) if batch_sizes is None else kernel(x, batch_sizes, begin, *settings)
            )
        return y, tuple(ends)

    def _stepwise(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The cores at every step: outputs (steps, batch, directions * size), and the last states."""

        def project(name: str, x: Tensor) -> Tensor:
            y: Tensor = self.get_submodule(name)(x)
            return y

        def between(x: Tensor) -> Tensor:
            return functional.dropout(x, self.dropout, self.training)

        return self._recurrence.run(OPS, project, x, state, between)

    @torch.no_grad()
    def _copied_to(self, dense: nn.RNNBase) -> None:
        for name, parameter in dense.named_parameters():
            parameter.copy_(getattr(self, name))
        dense.train(self.training)

    def _settings(self) -> dict[str, Any]:
        """What torch's own module takes beside the sizes."""
        weight = next(self.parameters())
        kept = {name: getattr(self, name) for name in ("bias", "batch_first", "dropout", "bidirectional")}
        return kept | {"device": weight.device, "dtype": weight.dtype}

    def extra_repr(self) -> str:
        """Sizes and what differs from torch's defaults, shown when the module is printed."""
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = [f"{k}={getattr(self, k)}" for k, v in (defaults | {"proj_size": 0}).items() if getattr(self, k) != v]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


def dense_seconds(inputs: int, outputs: int, calls: int, rows: int, rates: Machine) -> float:
    """The estimate for a dense weight in torch's kernel: so many products of so many rows, the weight read by each."""
    read = rates.move(inputs * outputs, 4, cached=4 * inputs * outputs < rates.cache_bytes)
    return calls * (rates.product((1, rows, inputs, outputs)) + read)


def carried_seconds(layer: TNLinear, calls: int, rows: int) -> float:
    """The estimate for as many calls through the cores."""
    return calls * layer.plan_for(rows).seconds


def rebuilding_seconds(layer: TNLinear) -> float:
    """The estimate for rebuilding the weight once."""
    return sum(layer._map.weight_plan(term).seconds for term in range(len(layer._map.graphs)))


def _plan_weight(module: object) -> None:
    if isinstance(module, TNLinear):
        rebuilding_seconds(module)


def _with_gradient(x: Tensor, weight: Tensor) -> Tensor:
    """The same input, as something that weights have a part in.

    Compiled, torch takes oneDNN's kernel for an LSTM whose input wants no gradient, and then fails where its weights
    want one (`torch._decomp.decompositions.use_mkldnn` in torch 2.13 asks the input alone).
    """
    return x if x.requires_grad else x + weight.flatten()[:1] * 0


@contextmanager
def _no_word_of_layout() -> Iterator[None]:
    """No warning that cuDNN copies weights into one chunk: these were made just now, for this call."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        yield


def _mapped(hx: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A state, of one tensor or several or None, with each tensor changed."""
    if hx is None:
        return None
    return tuple(change(part) for part in hx) if isinstance(hx, (tuple, list)) else change(hx)
