"""Fresh recurrent layers over whole sequences, which the classes for Flax NNX and for Equinox hold."""

from __future__ import annotations

from typing import Any

import jax

from tnlayers.cores.linear_map import LinearMap
from tnlayers.cores.recurrent import Recurrence
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.forms.networked import Linear
from tnlayers.forms.several import Recurrent
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.module import JaxModule, drawn_arrays


def check_stacked(rate: float, num_layers: int, name: str) -> None:
    """Refuse dropout that drops nothing.

    Args:
        rate: Probability of dropping an entry.
        num_layers: Layers one on the other.
        name: What the caller gives the rate as.

    Raises:
        TNLayersError: There is a rate, and a single layer.
    """
    if rate and num_layers == 1:
        raise TNLayersError(
            f"{name}={rate} with num_layers=1: what is dropped lies between one layer and the next, so a single layer "
            f"drops nothing. Leave {name} out, take num_layers=2 or more, or put a dropout behind the layer."
        )


def drawn_recurrent(
    mode: str,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    use_bias: bool,
    bidirectional: bool,
    proj_size: int,
    network: str | Spec,
    dtype: Any,
    key: jax.Array,
    batch_first: bool = False,
    **keywords: Any,
) -> JaxModule:
    """A layer of `Recurrence`'s sizes, a network for each projection.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: Size of each input vector.
        hidden_size: Size of the hidden state.
        num_layers: Layers one on the other.
        use_bias: Whether the projections of input and hidden state add a bias.
        bidirectional: Whether each layer runs in both directions.
        proj_size: Size that an LSTM's output is projected to; 0 for none.
        network: The network of all projections.
        dtype: Of its arrays, by name or as jax has it.
        key: As `jax.random.key(0)` makes it.
        batch_first: Whether sequences are (batch, steps, size) rather than (steps, batch, size).
        **keywords: Of the network type, such as `bond_dim=16`.

    Raises:
        TNLayersError: If the network does not fit a projection, or a size is out of range.
    """
    if not 0 <= proj_size < hidden_size:
        raise TNLayersError(f"proj_size={proj_size}: it must be smaller than hidden_size={hidden_size}.")
    name = checked_dtype(dtype)
    sizes: dict[str, Any] = {"mode": mode, "input_size": input_size, "hidden_size": hidden_size}
    sizes |= {"num_layers": num_layers, "bidirectional": bidirectional, "proj_size": proj_size}
    parts = []
    for part, (inputs, outputs) in Recurrence(**sizes).projections().items():
        spec = make_spec(network, inputs, outputs, bias=use_bias and not part.startswith("hr"), **keywords)
        parts.append((part, Linear(LinearMap(spec, name, buckets=()))))
    form = Recurrent(**sizes, batch_first=batch_first, parts=tuple(parts))
    return JaxModule(drawn_arrays(form, key, name), form)
