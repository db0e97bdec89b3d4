"""The framework-free half of recurrent layers: projections by name, states to begin with, the loop of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tnlayers.cores.arithmetic import Arithmetic
from tnlayers.cores.gates import MODES, State
from tnlayers.errors import TNLayersError
from tnlayers.program.program import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """The sizes of a recurrent layer, in the words of `torch.nn.LSTM`.

    Attributes:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        bidirectional: Whether each layer runs in both directions.
        proj_size: Size that an LSTM's output is projected to; 0 for none.
    """

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    proj_size: int = 0

    def directions(self, layer: int) -> list[str]:
        """The ends of the names of a layer's projections."""
        return [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]

    def projections(self) -> dict[str, tuple[int, int]]:
        """The sizes (in, out) of every projection by name, in torch's order of weights.

        Example:
            >>> Recurrence(mode="GRU", input_size=5, hidden_size=4).projections()
            {'ih_l0': (5, 12), 'hh_l0': (4, 12)}
        """
        inputs, states = self.input_size, self.proj_size or self.hidden_size
        gates = MODES[self.mode].gates * self.hidden_size
        found: dict[str, tuple[int, int]] = {}
        for layer in range(self.num_layers):
            for suffix in self.directions(layer):
                found |= {f"ih_{suffix}": (inputs, gates), f"hh_{suffix}": (states, gates)}
                found |= {f"hr_{suffix}": (self.hidden_size, self.proj_size)} if self.proj_size else {}
            inputs = states * (2 if self.bidirectional else 1)
        return found

    def begin(self, ops: Arithmetic, x: Array, batch: int, given: Any) -> State:
        """The state to begin with, each part (layers * directions, batch, size); zeros where none is given.

        Raises:
            TNLayersError: If the given one has other shapes.
        """
        rows = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: MODES[self.mode].states]
        if given is None:
            return tuple(ops.zeros((rows, batch, size), x) for size in sizes)
        parts = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        expected = [(rows, batch, size) for size in sizes]
        if [tuple(part.shape) for part in parts] != expected:
            raise TNLayersError(
                f"The state has shapes {[tuple(part.shape) for part in parts]}, but this {self.mode} layer begins a "
                f"batch of {batch} with {expected}: (layers * directions, batch, size)."
            )
        return parts

    def run(
        self,
        ops: Arithmetic,
        project: Callable[[str, Array], Array],
        x: Array,
        state: State,
        between: Callable[[Array], Array] = lambda x: x,
    ) -> tuple[Array, State]:
        """The cores at every step: outputs (steps, batch, directions * size), and the last states.

        Args:
            ops: The primitives of the arrays' backend.
            project: Applies the projection of a name to vectors.
            x: The sequence, (steps, batch, input_size).
            state: To begin with, as of `begin`.
            between: What is done to a layer's output before the next: dropout.
        """
        ends: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self.directions(layer):
                back = suffix.endswith("_reverse")
                begin = tuple(part[len(ends)] for part in state)
                y, end = self._over_steps(ops, project, suffix, ops.flip(x) if back else x, begin)
                outputs.append(ops.flip(y) if back else y)
                ends.append(end)
            x = ops.join(outputs, x.ndim - 1) if len(outputs) > 1 else outputs[0]
            if layer < self.num_layers - 1:
                x = between(x)
        return x, tuple(ops.join([part[None] for part in parts], 0) for parts in zip(*ends, strict=True))

    def _over_steps(
        self, ops: Arithmetic, project: Callable[[str, Array], Array], suffix: str, x: Array, state: State
    ) -> tuple[Array, State]:
        """One layer in one direction."""
        step = MODES[self.mode].step

        def one(state: State, from_x: Array) -> tuple[State, Array]:
            state = step(ops, from_x, project(f"hh_{suffix}", state[0]), state)
            if self.proj_size:
                state = (project(f"hr_{suffix}", state[0]), *state[1:])
            return state, state[0]

        # The input's projection of all steps is one call.
        end, y = ops.scan(one, state, project(f"ih_{suffix}", x))
        return y, end


def check_sequence(x: Array, recurrence: Recurrence, batch_first: bool, what: str) -> None:
    """Refuse what is no sequence of the layer.

    Raises:
        TNLayersError: It has other axes or another size.
    """
    if x.ndim not in (2, 3) or x.shape[-1] != recurrence.input_size:
        raise TNLayersError(
            f"The input has shape {tuple(x.shape)}, but this {what} takes sequences of {recurrence.input_size} "
            f"features: {'(batch, steps' if batch_first else '(steps, batch'}, {recurrence.input_size}), or (steps, "
            f"{recurrence.input_size}) without a batch."
        )
