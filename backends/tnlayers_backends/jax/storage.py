"""How jax layers travel to files and to other backends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tnlayers.cores.linear_map import LinearMap
from tnlayers_backends.base import Parts, Storage, check_linear, linear_parts
from tnlayers_backends.jax.linear import JaxLinear, checked_dtype


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one.
    """
    return linear_parts(layer, JaxLinear, lambda own: own.map.pinned)


def put_together(parts: Parts) -> JaxLinear:
    """The layer of such parts; the arrays become its own.

    Raises:
        TNLayersError: If it is another kind of layer than jax has, or the arrays are not those it has.
    """
    check_linear(parts, "jax")
    core = parts.arrays[next(iter(parts.spec.shapes))]
    return JaxLinear(dict(parts.arrays), LinearMap(parts.spec, core.dtype.name, pinned=parts.plan, buckets=()))


def to_bytes(array: jax.Array) -> bytes:
    """The entries of an array, row-major and little-endian, as every machine that runs jax is."""
    return np.asarray(array).tobytes()


def from_bytes(data: bytes | bytearray, dtype: str, shape: tuple[int, ...]) -> jax.Array:
    """An array from its entries.

    Raises:
        TNLayersError: If jax has no such dtype in its present mode.
    """
    return jnp.asarray(np.frombuffer(data, jnp.dtype(checked_dtype(dtype))).reshape(shape))


STORAGE = Storage(take_apart=take_apart, put_together=put_together, to_bytes=to_bytes, from_bytes=from_bytes)
