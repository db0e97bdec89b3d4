"""How jax layers and models travel to files and to other backends."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from tnlayers.cores.linear_map import LinearMap
from tnlayers.forms.form import Form
from tnlayers.forms.kinds import check_arrays, networked, order_arrays
from tnlayers.forms.networked import Linear
from tnlayers_backends.base import Parts, Storage, linear_parts
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.linear import JaxLinear
from tnlayers_backends.jax.module import JaxLayer, JaxModule, make_module


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one.
    """
    if type(layer) is not JaxLayer:
        return linear_parts(layer, JaxLinear, lambda own: own.map.pinned)
    form = layer.form
    orders = {name: jnp.asarray(np.asarray(order, np.int32)) for name, order in order_arrays(form).items()}
    arrays = {name: layer.params[name] for name in form.shapes}
    return Parts(form.kind, form.keywords, form.spec, arrays | orders, form.map.pinned)


def put_together(parts: Parts) -> JaxLinear | JaxLayer:
    """The layer of such parts; the arrays become its own.

    Raises:
        TNLayersError: If the kind is unknown, or the arrays are not those it has.
    """
    core = parts.arrays[next(iter(parts.spec.shapes))]
    linear = LinearMap(parts.spec, core.dtype.name, pinned=parts.plan, buckets=())
    form = networked(parts.kind, linear, parts.keywords, parts.arrays)
    layer = make(form, {name: array for name, array in parts.arrays.items() if name not in order_arrays(form)})
    assert isinstance(layer, (JaxLinear, JaxLayer))
    return layer


def describe(module: object) -> tuple[Form, Mapping[str, jax.Array]]:
    """The form and the arrays of a module of this backend.

    Raises:
        TNLayersError: If it is none.
    """
    if isinstance(module, JaxModule):
        return module.form, module.params
    parts = take_apart(module)
    assert isinstance(module, JaxLinear)
    return networked(parts.kind, module.map, parts.keywords, parts.arrays), parts.arrays


def make(form: Form, arrays: Mapping[str, jax.Array]) -> JaxModule | JaxLinear:
    """The module of a form; the arrays become its own.

    Raises:
        TNLayersError: If they are not those of the form.
    """
    if type(form) is not Linear or order_arrays(form):
        return make_module(form, arrays)
    check_arrays(form, arrays)
    return JaxLinear(dict(arrays), form.map)


def to_bytes(array: jax.Array) -> bytes:
    """The entries of an array, row-major and little-endian, as every machine that runs jax is."""
    return np.asarray(array).tobytes()


def from_bytes(data: bytes | bytearray, dtype: str, shape: tuple[int, ...]) -> jax.Array:
    """An array from its entries.

    Raises:
        TNLayersError: If jax has no such dtype in its present mode.
    """
    kind = jnp.dtype(dtype if dtype == "int32" else checked_dtype(dtype))  # int32: orders of features
    return jnp.asarray(np.frombuffer(data, kind).reshape(shape))


STORAGE = Storage(
    take_apart=take_apart,
    put_together=put_together,
    to_bytes=to_bytes,
    from_bytes=from_bytes,
    describe=describe,
    make=make,
)
