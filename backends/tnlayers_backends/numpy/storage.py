"""How numpy layers and models travel to files and to other backends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tnlayers.cores.linear_map import LinearMap
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Form
from tnlayers.forms.kinds import check_arrays, networked, order_arrays
from tnlayers.forms.networked import Linear, Networked
from tnlayers_backends.base import Parts, Storage, linear_parts
from tnlayers_backends.numpy.linear import NumpyLinear
from tnlayers_backends.numpy.module import NumpyLayer, NumpyModule
from tnlayers_backends.numpy.primitives import Array


def take_apart(layer: object) -> Parts:
    """The parts of a layer.

    Raises:
        TNLayersError: If it is no layer of this backend itself, such as a subclass of one.
    """
    if type(layer) is not NumpyLayer:
        return linear_parts(layer, NumpyLinear, lambda own: own._map.pinned)
    form = layer.form
    orders = {name: np.asarray(order, np.int32) for name, order in order_arrays(form).items()}
    bias = {} if layer.bias is None else {"bias": layer.bias}
    return Parts(form.kind, form.keywords, form.spec, {**layer.cores, **bias, **orders}, form.map.pinned)


def put_together(parts: Parts) -> NumpyLinear | NumpyLayer:
    """The layer of such parts; the arrays become its own.

    Raises:
        TNLayersError: If the kind is unknown, or the arrays are not those it has.
    """
    linear = LinearMap(parts.spec, str(parts.arrays[next(iter(parts.spec.shapes))].dtype), pinned=parts.plan)
    form = networked(parts.kind, linear, parts.keywords, parts.arrays)
    layer = make(form, {name: array for name, array in parts.arrays.items() if name not in order_arrays(form)})
    assert isinstance(layer, (NumpyLinear, NumpyLayer))
    return layer


def describe(module: object) -> tuple[Form, Mapping[str, Array]]:
    """The form and the arrays of a module of this backend.

    Raises:
        TNLayersError: If it is none.
    """
    if isinstance(module, NumpyModule) and not isinstance(module, NumpyLayer):
        return module.form, module.arrays
    parts = take_apart(module)
    dtype = str(parts.arrays[next(iter(parts.spec.shapes))].dtype)
    form = networked(parts.kind, LinearMap(parts.spec, dtype, pinned=parts.plan), parts.keywords, parts.arrays)
    return form, {name: parts.arrays[name] for name in form.shapes}


def make(form: Form, arrays: Mapping[str, Array]) -> NumpyModule | NumpyLinear:
    """The module of a form; the arrays become its own.

    Raises:
        TNLayersError: If they are not those of the form.
    """
    if not isinstance(form, Networked):
        return NumpyModule(form, arrays)
    if type(form) is not Linear or order_arrays(form):
        return NumpyLayer(form, arrays)
    check_arrays(form, arrays)
    layer = NumpyLinear(form.spec, dtype=form.map.dtype)
    layer.bias = arrays.get("bias")
    layer.cores = {name: arrays[name] for name in form.map.shapes}
    layer.use_plan(form.map.pinned)
    return layer


def to_bytes(array: Array) -> bytes:
    """The entries of an array, row-major and little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def from_bytes(data: bytes | bytearray, dtype: str, shape: tuple[int, ...]) -> Array:
    """An array from its entries.

    Raises:
        TNLayersError: If numpy has no such dtype: bfloat16.
    """
    if dtype == "bfloat16":
        raise TNLayersError(
            "numpy has no dtype 'bfloat16'. Go by torch, where layer.float() makes it float32, which loses nothing."
        )
    little = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(data, little).reshape(shape).astype(dtype)


STORAGE = Storage(
    take_apart=take_apart,
    put_together=put_together,
    to_bytes=to_bytes,
    from_bytes=from_bytes,
    describe=describe,
    make=make,
)
