"""Recurrent cells and layers as hosts of two weights, or of two or three for each layer and direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tnlayers_backends.torch.layers.kind import Work
from tnlayers_backends.torch.layers.recurrent_cells import TNRecurrentCell
from tnlayers_backends.torch.layers.sequence import TNRecurrent
from tnlayers_backends.torch.modules.host import Host, as_linear, blank, filled, tensor

_LAYER = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")


class Cell(Host):
    """`nn.LSTMCell` and its like.

    Args:
        make: The class of tnlayers.
        own: Settings that cells of this class have beside the common ones.
    """

    def __init__(self, make: type[TNRecurrentCell], *own: str) -> None:
        self._make, self._settings = make, ("input_size", "hidden_size", "bias", *own)

    def parts(self, module: nn.RNNCellBase) -> dict[str, nn.Module]:
        return {
            name: as_linear(tensor(module, f"weight_{name}"), tensor(module, f"bias_{name}") if module.bias else None)
            for name in ("ih", "hh")
        }

    def assembled(self, module: nn.RNNCellBase, parts: Mapping[str, nn.Module]) -> nn.Module:
        return filled(blank(self._make, module, self._settings), parts)

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As `Host`; the state for "hh"."""
        if part != "hh":
            return super().given(module, part, args, kwargs)
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        value = state[0] if isinstance(state, tuple) else state
        return value if isinstance(value, Tensor) else None


class Recurrent(Host):
    """`nn.LSTM` and its like.

    Args:
        make: The class of tnlayers.
        own: Settings that layers of this class have beside the common ones.
    """

    def __init__(self, make: type[TNRecurrent], *own: str) -> None:
        self._make, self._settings = make, (*_LAYER, *own)

    def parts(self, module: nn.RNNBase) -> dict[str, nn.Module]:
        weights = [name for name in module._flat_weights_names if name.startswith("weight")]
        return {
            name.removeprefix("weight_"): as_linear(
                tensor(module, name), getattr(module, name.replace("weight", "bias"), None)
            )
            for name in weights
        }

    def assembled(self, module: nn.RNNBase, parts: Mapping[str, nn.Module]) -> nn.Module:
        return filled(blank(self._make, module, self._settings), parts)

    def given(self, module: nn.Module, part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As `Host`: of every part the layer's own input, see `shows`."""
        given = args[0] if args else kwargs.get("input")
        return given.data if isinstance(given, PackedSequence) else given

    def shows(self, part: str) -> bool:
        """Not of deeper layers and hidden states."""
        return part.startswith("ih_l0")

    def steps(self, module: nn.RNNBase, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
        """As `Host`; of packed sequences the most."""
        given = args[0] if args else kwargs["input"]
        if isinstance(given, PackedSequence):
            return (len(given.batch_sizes),)
        return (int(given.shape[1 if module.batch_first and given.ndim == 3 else 0]),)

    def calls(self, part: str, work: Work) -> tuple[int, int]:
        """As `Host`: the input's projection of all steps is one call."""
        steps = 1 if part.startswith("ih") else max((*work.spatial, 1))
        return steps, max(work.count // steps, 1)

    def reason_against_fit(self, module: nn.Module) -> str:
        return f"the steps inside an nn.{type(module).__name__} do not show what goes into each of its weights"
