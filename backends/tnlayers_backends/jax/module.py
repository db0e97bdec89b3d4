"""Layers of all kinds and whole models on jax: a form with its arrays as one pytree, and `init` and `apply`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.forms.form import Form, Runtime
from tnlayers.forms.kinds import check_arrays, networked
from tnlayers.forms.networked import Networked
from tnlayers.forms.ordinary import Dense
from tnlayers.forms.several import Adapter, Cell, Recurrent
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.initialise import draw_cores, draw_vector
from tnlayers_backends.jax.multiply import batch_of, multiply, placed
from tnlayers_backends.jax.params import Params
from tnlayers_backends.jax.primitives import OPS


def as_arrays(inputs: Any) -> Any:
    """Inputs of a module, tuples of them too, as arrays of jax; flags stay, which decide what is computed."""
    return jax.tree.map(lambda x: x if isinstance(x, bool) else jnp.asarray(x), inputs)


def _runtime(*, by_jax: bool) -> Runtime:
    return Runtime(
        ops=OPS,
        linear=lambda linear, x, cores: multiply(linear, x, cores, by_jax=by_jax),
        objective="training",
        count=batch_of,
        placed=lambda linear, cores: placed(linear, str(jnp.result_type(*cores))),
    )


_RUNTIMES = {by_jax: _runtime(by_jax=by_jax) for by_jax in (False, True)}
RUNTIME = _RUNTIMES[False]


@partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["form", "by_jax"])
@dataclass(frozen=True, eq=False, repr=False)
class JaxModule:
    """A module on jax: `module(*inputs)`, as the torch module that it replaces takes them when it evaluates.

    It is a pytree: its leaves are the arrays, its structure holds the form, compared by value. `jax.grad(loss)(module)`
    is a module of gradients, and `jax.tree.map` makes another module.

    Attributes:
        params: Its arrays by name.
        form: What it does.
        by_jax: Whether jax differentiates everything by itself, as `JaxLinear.forward_mode` asks for.
    """

    params: dict[str, jax.Array]
    form: Form
    by_jax: bool = False

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the module."""
        return self.apply(self.params, *inputs, **options)

    def apply(self, params: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
        """Run the module with these arrays in place of its own: a pure function of both.

        Raises:
            TNLayersError: If the arrays are others than the module's, or an input does not fit.
        """
        found = {name: np.shape(array) for name, array in params.items()}
        if found != (wanted := self.form.shapes):
            raise TNLayersError(
                f"This {self.form.kind} takes parameters of shapes {str(wanted)[:500]}, got {str(found)[:500]}. "
                "`layer.init(key)` and `layer.params` are such parameters."
            )
        given, named = as_arrays((inputs, options))
        return self.form.apply(_RUNTIMES[self.by_jax], params, *given, **named)

    def init(self, key: jax.Array) -> dict[str, jax.Array]:
        """Fresh parameters by jax's generator, of the dtypes that the present ones have; works under jit and vmap.

        Raises:
            TNLayersError: If the module is more than layers of cores and dense linear ones.
        """
        return drawn_arrays(self.form, key, {name: array.dtype for name, array in self.params.items()})

    def __repr__(self) -> str:
        entries = sum(array.size for array in self.params.values())
        return f"{type(self).__name__}({self.form.kind!r}, {len(self.params)} arrays of {entries:,} entries)"


@partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["form", "by_jax"])
@dataclass(frozen=True, eq=False, repr=False)
class JaxLayer(Params, JaxModule):
    """A layer of one network on jax, of any kind but the plain linear one."""

    form: Networked

    def _network(self) -> LinearMap:
        return self.form.map

    def to_dense(self) -> jax.Array:
        """The dense weight in the shape that torch's module has."""
        dense: jax.Array = self.form.weight(OPS, self._arrays())
        return dense

    weight = property(to_dense, doc="The dense weight, rebuilt at each access.")

    def norm2(self) -> jax.Array:
        """The sum of the squared absolute entries of the weight; of a table without the row of padding."""
        if getattr(self.form, "padding_idx", None) is None:
            return super().norm2()
        return jnp.sum(jnp.abs(self.to_dense()) ** 2)

    def __repr__(self) -> str:
        return f"JaxLayer({self.form.kind!r}, {str(self.spec)!r})"


def make_module(form: Form, arrays: Mapping[str, jax.Array]) -> JaxModule:
    """The module of a form; the arrays become its own.

    Raises:
        TNLayersError: If they are not those of the form.
    """
    check_arrays(form, arrays)
    return JaxLayer(dict(arrays), form) if isinstance(form, Networked) else JaxModule(dict(arrays), form)


def drawn_layer(
    kind: str, spec: Spec, dtype: Any, key: jax.Array, variance: float | None = None, **keywords: Any
) -> JaxLayer:
    """A fresh layer of one network.

    Args:
        kind: Any kind but "linear".
        spec: The sized declaration.
        dtype: Of its arrays, by name or as jax has it.
        key: As `jax.random.key(0)` makes it.
        variance: What E[W^2] is, of a layer without bias; that of the kind on torch if None.
        **keywords: Of the kind.

    Raises:
        TNLayersError: If jax has no such dtype in its present mode, or the keywords do not fit.
    """
    name = checked_dtype(dtype)
    form = networked(kind, LinearMap(spec, name, buckets=()), keywords, {})
    if variance is None:
        return JaxLayer(drawn_arrays(form, key, name), form)
    return JaxLayer(draw_cores(form.map.graphs, variance, key, name), form)


def drawn_arrays(
    form: Form, key: jax.Array, dtypes: Mapping[str, Any] | str, variance: float | None = None
) -> dict[str, jax.Array]:
    """Fresh arrays of a form: cores so that E[W^2] is that of the kind, biases uniform within the root of thrice that.

    Args:
        form: A layer of cores, a dense linear one, or a module of such parts.
        key: As `jax.random.key(0)` makes it.
        dtypes: Of each array by name, or one for all.
        variance: What E[W^2] is where the module around it decides, as recurrent layers do; that of the kind if None.

    Raises:
        TNLayersError: If the form has other arrays.
    """
    if isinstance(dtypes, str):
        return drawn_arrays(form, key, dict.fromkeys(form.shapes, dtypes), variance)
    found: dict[str, jax.Array] = {}
    if isinstance(form, Networked):
        first, second = jax.random.split(key)
        name = next(iter(form.map.shapes))
        variance = form.variance if variance is None else variance
        found = draw_cores(form.map.graphs, variance, first, str(dtypes[name]))
        if "bias" in form.shapes:
            found["bias"] = draw_vector(second, form.shapes["bias"], (3 * variance) ** 0.5, str(dtypes["bias"]))
    elif isinstance(form, Dense):
        keys = jax.random.split(key)
        bound = form.in_features**-0.5 if variance is None else (3 * variance) ** 0.5
        for one, (name, shape) in zip(keys, form.shapes.items(), strict=False):
            found[name] = draw_vector(one, shape, bound, str(dtypes[name]))
    elif form.own_shapes or isinstance(form, Adapter):
        raise TNLayersError(
            f"A module of kind {form.kind!r} has arrays that are not drawn here ({', '.join(list(form.shapes)[:3])}): "
            "draw it on torch and move it (tnl.to_backend)."
        )
    for number, (name, child) in enumerate(form.children):
        inner = {one: dtypes[f"{name}.{one}"] for one in child.shapes}
        own = 1 / (3 * form.hidden_size) if isinstance(form, (Cell, Recurrent)) else None  # as torch draws them
        made = drawn_arrays(child, jax.random.fold_in(key, number), inner, own)
        found |= {f"{name}.{one}": array for one, array in made.items()}
    return found
