"""Forms of modules with several weights: attention, recurrent cells and layers, adapters; as they evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tnlayers.cores.attention import attend, mask_of, merge_heads, split_heads
from tnlayers.cores.gates import MODES
from tnlayers.cores.recurrent import Recurrence, check_sequence
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Children, Form, Runtime
from tnlayers.program.program import Array

Arrays = Mapping[str, Array]


# What attention takes beside query, key and value, in torch's order.
@dataclass(frozen=True)
class Several(Form):
    """A module of named parts; abstract.

    Attributes:
        parts: The forms inside, by name.
    """

    parts: Children = field(default=(), kw_only=True)

    @property
    def children(self) -> Children:
        """The parts."""
        return self.parts


@dataclass(frozen=True)
class Attention(Several):
    """Multi-head attention, called as `nn.MultiheadAttention`; parts are q_proj, k_proj, v_proj and out_proj."""

    kind = "attention"
    takes = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights")
    defaults = MappingProxyType(dict(zip(takes[3:], (None, True, None, True), strict=True)))
    num_heads: int = 1
    batch_first: bool = False

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """`(query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True)`.

        Returns:
            The output, and the weights or None.
        """
        query, key, value, padding, need_weights, attn_mask, average = self.arguments(inputs, options)
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x[None] for x in (query, key, value))
            padding = None if padding is None else padding[None]
        elif not self.batch_first:
            query, key, value = (at.ops.permute(x, (1, 0, 2)) for x in (query, key, value))
        named = (("q_proj", query), ("k_proj", key), ("v_proj", value))
        q, k, v = (split_heads(at.ops, self.run_child(at, arrays, n, x), self.num_heads) for n, x in named)
        y, weights = attend(at.ops, q, k, v, mask_of(at.ops, q, attn_mask, padding))
        y = self.run_child(at, arrays, "out_proj", merge_heads(at.ops, y))
        weights = at.ops.sum(weights, (1,)) / self.num_heads if average else weights
        if not batched:
            y, weights = y[0], weights[0]
        elif not self.batch_first:
            y = at.ops.permute(y, (1, 0, 2))
        return y, weights if need_weights else None


@dataclass(frozen=True)
class Cell(Several):
    """A recurrent cell of torch: one step; parts are ih and hh.

    Attributes:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: Size of each input.
        hidden_size: Size of the hidden state.
    """

    kind = "cell"
    takes = ("x", "hx")
    defaults = MappingProxyType({"hx": None})
    mode: str = "LSTM"
    input_size: int = 0
    hidden_size: int = 0

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """`(x, hx=None)`: the new state, (hidden, cell) of an LSTM and the hidden one of others."""
        x, state = self.arguments(inputs, options)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise TNLayersError(
                f"The input has shape {tuple(x.shape)}, but this cell takes (batch, {self.input_size}) or "
                f"({self.input_size},): one step at a time."
            )
        mode = MODES[self.mode]
        if state is None:
            given = (at.ops.zeros((*x.shape[:-1], self.hidden_size), x),) * mode.states
        else:
            given = tuple(state) if mode.states > 1 else (state,)
        ih, hh = self.run_child(at, arrays, "ih", x), self.run_child(at, arrays, "hh", given[0])
        new = mode.step(at.ops, ih, hh, given)
        return new if mode.states > 1 else new[0]


@dataclass(frozen=True)
class Recurrent(Several):
    """A recurrent layer of torch over whole sequences; parts are ih_l0, hh_l0 and so on."""

    kind = "recurrent"
    takes = ("x", "hx")
    defaults = MappingProxyType({"hx": None})
    mode: str = "LSTM"
    input_size: int = 0
    hidden_size: int = 0
    num_layers: int = 1
    batch_first: bool = False
    bidirectional: bool = False
    proj_size: int = 0

    @property
    def recurrence(self) -> Recurrence:
        """The sizes."""
        names = ("mode", "input_size", "hidden_size", "num_layers", "bidirectional", "proj_size")
        return Recurrence(**{name: getattr(self, name) for name in names})

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """`(x, hx=None)`: the outputs of all steps, and the last state, as torch's layers give them."""
        x, state = self.arguments(inputs, options)
        recurrence = self.recurrence
        check_sequence(x, recurrence, self.batch_first, "recurrent layer")
        pair = MODES[self.mode].states > 1
        single = x.ndim == 2
        if single:
            x = x[:, None]
            if state is not None:
                state = tuple(part[:, None] for part in (state if pair else (state,)))
        elif self.batch_first:
            x = at.ops.permute(x, (1, 0, 2))
        begin = recurrence.begin(at.ops, x, x.shape[1], state)
        y, ends = recurrence.run(at.ops, lambda name, x: self.run_child(at, arrays, name, x), x, begin, at.between)
        if single:
            y, ends = y[:, 0], tuple(end[:, 0] for end in ends)
        elif self.batch_first:
            y = at.ops.permute(y, (1, 0, 2))
        return y, ends if pair else ends[0]


@dataclass(frozen=True)
class Adapter(Several):
    """A dense layer and a network whose outputs are added; parts are base and delta. The base is a constant."""

    kind = "adapter"

    def apply(self, at: Runtime, arrays: Arrays, *inputs: Any, **options: Any) -> Any:
        """The sum of both."""
        still = {name: at.ops.constant(array) for name, array in arrays.items() if name.startswith("base.")}
        given = dict(self.children)["delta"].arguments(inputs, options)
        return self.run_child(at, still, "base", *given) + self.run_child(at, arrays, "delta", *given)
