"""Fresh adapters of dense linear layers, which the classes for Flax NNX and for Equinox hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec
from tnlayers.errors import TNLayersError
from tnlayers.forms.networked import Linear
from tnlayers.forms.ordinary import Dense
from tnlayers.forms.several import Adapter
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.module import JaxModule, drawn_arrays
from tnlayers_backends.jax.primitives import OPS


def drawn_adapter(
    weight: jax.Array, bias: jax.Array | None, network: str | Spec, key: jax.Array, /, **keywords: Any
) -> JaxModule:
    """A dense layer and a network whose last core is zero, so that the sum begins as the dense layer.

    Args:
        weight: Of the dense layer, (out_features, in_features).
        bias: Of the dense layer.
        network: Of what is added: a template or a spec.
        key: As `jax.random.key(0)` makes it.
        **keywords: Of the network type, such as `bond_dim=4`.

    Raises:
        TNLayersError: If the network does not fit the layer, or has a bias.
    """
    outputs, inputs = weight.shape
    spec = make_spec(network, inputs, outputs, **keywords)
    if spec.bias:
        raise TNLayersError(f"{str(spec)[:200]} has a bias, and an adapter adds to a weight: leave bias out.")
    name = checked_dtype(weight.dtype)
    delta = Linear(LinearMap(spec, name, buckets=()))
    base = Dense(inputs, outputs, bias is not None)
    arrays = {"base.weight": weight} | ({} if bias is None else {"base.bias": bias})
    arrays |= {f"delta.{core}": array for core, array in drawn_arrays(delta, key, name).items()}
    last = f"delta.{list(delta.map.shapes)[-1]}"
    arrays[last] = jnp.zeros_like(arrays[last])
    return JaxModule(arrays, Adapter(parts=(("base", base), ("delta", delta))))


def merged(layer: JaxModule) -> jax.Array:
    """The weight of an adapter with what was learned added, (out_features, in_features)."""
    delta: Any = dict(layer.form.children)["delta"]
    weight: jax.Array = layer.params["base.weight"] + delta.weight(
        OPS, [layer.params[f"delta.{core}"] for core in delta.map.shapes]
    )
    return weight
