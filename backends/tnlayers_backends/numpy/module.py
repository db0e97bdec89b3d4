"""Layers of all kinds and whole models on numpy: a form with its arrays, forward alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.arguments import shown
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Form, Runtime
from tnlayers.forms.kinds import check_arrays
from tnlayers.forms.networked import Networked
from tnlayers_backends.numpy.linear import InPlace, run
from tnlayers_backends.numpy.primitives import OPS, Array


def _linear(linear: LinearMap, x: Array, cores: Sequence[Array]) -> Array:
    y: Array = linear.apply(OPS, x, cores, linear.plan_for(prod(x.shape[:-1])), run)
    return y


RUNTIME = Runtime(ops=OPS, linear=_linear, objective="forward", count=lambda sizes: prod(sizes))


class NumpyModule:
    """A module on numpy: `module(*inputs)`, as the torch module that it replaces takes them when it evaluates.

    Args:
        form: What it does.
        arrays: Its arrays by name; they become its own.

    Raises:
        TNLayersError: If the arrays are not those of the form; or, in a call, an input is no array or does not fit.
    """

    def __init__(self, form: Form, arrays: Mapping[str, Array]) -> None:
        check_arrays(form, arrays)
        self.form, self.arrays = form, dict(arrays)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the module."""
        check_inputs((*inputs, *options.values()))
        return self.form.apply(RUNTIME, self.arrays, *inputs, **options)

    def __repr__(self) -> str:
        entries = sum(array.size for array in self.arrays.values())
        return f"{type(self).__name__}({self.form.kind!r}, {len(self.arrays)} arrays of {entries:,} entries)"


class NumpyLayer(InPlace, NumpyModule):
    """A layer of one network on numpy, of any kind but the plain linear one.

    Attributes:
        cores: The cores by name, in order of declaration; assign to its entries to change the layer.
        bias: A vector, or None.
    """

    form: Networked

    def __init__(self, form: Networked, arrays: Mapping[str, Array]) -> None:
        super().__init__(form, arrays)
        self.cores = {name: self.arrays[name] for name in form.map.shapes}
        self.bias = self.arrays.get("bias")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the layer."""
        self.arrays = self.cores | ({} if self.bias is None else {"bias": self.bias})
        return super().__call__(*inputs, **options)

    def _network(self) -> LinearMap:
        return self.form.map

    def to_dense(self) -> Array:
        """The dense weight in the shape that torch's module has."""
        dense: Array = self.form.weight(OPS, self._arrays())
        return dense

    weight = property(to_dense, doc="The dense weight, rebuilt at each access.")

    def norm2(self) -> Array:
        """The sum of the squared absolute entries of the weight; of a table without the row of padding."""
        if getattr(self.form, "padding_idx", None) is None:
            return super().norm2()
        return np.asarray(np.sum(np.abs(self.to_dense()) ** 2))

    def __repr__(self) -> str:
        return f"NumpyLayer({self.form.kind!r}, {str(self.spec)!r})"


def check_inputs(inputs: Sequence[Any]) -> None:
    """Refuse what is neither an array, nor None, nor a tuple of such.

    Raises:
        TNLayersError: With what was given.
    """
    for x in inputs:
        if isinstance(x, (tuple, list)):
            check_inputs(x)
        elif x is not None and not isinstance(x, (np.ndarray, bool)):
            raise TNLayersError(
                f"This module is called with x={shown(x)}, and needs an array: np.asarray(...) makes one."
            )
