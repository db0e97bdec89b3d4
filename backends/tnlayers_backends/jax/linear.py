"""`JaxLinear`: a frozen pytree whose leaves are its cores, and two pure functions `init` and `apply`.

Nothing here needs Equinox or Flax. `tnl.jax.eqx` and `tnl.jax.nnx` have modules for them; Flax linen takes the two
functions:

    params = self.param("fc", layer.init);  y = layer.apply(params, x)

Programs are plain jax operations: jit, grad, jvp, vmap, `jax.checkpoint`, `jax.export` and sharding see through them.
Where a plan has chunks of the batch, the backward pass is planned too (`planned.py`), and forward mode is asked for:
`layer.forward_mode()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tnlayers.cores.initialise import default_variance, draw_bias, draw_layer
from tnlayers.cores.linear_map import LinearMap
from tnlayers.declare.spec import Spec
from tnlayers.errors import TNLayersError
from tnlayers.planning.lowered import Objective
from tnlayers.planning.plan import AnyPlan
from tnlayers_backends.jax.dtypes import checked_dtype
from tnlayers_backends.jax.initialise import draw_cores, draw_vector
from tnlayers_backends.jax.multiply import multiply, placed
from tnlayers_backends.jax.params import Params


@partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["map", "by_jax"])
@dataclass(frozen=True, eq=False, repr=False)
class JaxLinear(Params):
    """A linear layer on jax: `layer(x)`, (..., in_features) -> (..., out_features).

    It is a pytree: its leaves are the cores (and the bias), its structure holds the declaration, compared by value. So
    `jax.grad(loss)(layer)` is a layer of gradients and `jax.tree.map` makes another layer. A layer never changes:
    `use_plan` gives another one.

    Attributes:
        params: The cores by name, and the bias as "bias" where there is one.
        map: Declaration, graphs and plans.
        by_jax: Whether jax differentiates everything by itself; see `forward_mode`.

    Example:
        >>> import jax
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bias=true, bond=3)", backend="jax", seed=0)
        >>> jax.jit(layer)(jax.numpy.ones((8, 28))).shape
        (8, 10)
        >>> params = layer.init(jax.random.key(0))
        >>> sorted(params)
        ['bias', 'core_0', 'core_1']
        >>> layer.apply(params, jax.numpy.ones((2, 3, 28))).shape
        (2, 3, 10)
    """

    params: dict[str, jax.Array]
    map: LinearMap
    by_jax: bool = False

    def __call__(self, x: Any) -> jax.Array:
        """Apply the layer to vectors of shape (..., in_features)."""
        return self.apply(self.params, x)

    def init(self, key: jax.Array) -> dict[str, jax.Array]:
        """Fresh parameters, drawn as `tnl.build` draws them but by jax's generator; works under jit and vmap.

        Args:
            key: As `jax.random.key(0)` makes it.

        Returns:
            Cores by name, and "bias" where the spec has one, in the dtype that the layer's own have.
        """
        for_cores, for_bias = jax.random.split(key)
        params = draw_cores(self.map.graphs, default_variance(self.spec.in_features), for_cores, self.dtype)
        if self.spec.bias:
            bound = self.spec.in_features**-0.5
            params["bias"] = draw_vector(for_bias, (self.spec.out_features,), bound, self.dtype)
        return params

    def apply(self, params: Mapping[str, Any], x: Any) -> jax.Array:
        """Apply the layer with these parameters in place of its own: a pure function of both.

        Args:
            params: Cores by name, and "bias" where the spec has one, as `init` gives them.
            x: Vectors of shape (..., in_features).

        Returns:
            Vectors of shape (..., out_features).

        Raises:
            TNLayersError: If the parameters are others than the layer's, `x` has another last dimension, or forward
                mode meets the planned backward pass (see `forward_mode`).
        """
        cores, bias = self._take(params)
        y = multiply(self.map, jnp.asarray(x), cores, by_jax=self.by_jax)
        return y if bias is None else y + bias

    def _network(self) -> LinearMap:
        return self.map

    def plan_for(self, batch: int, objective: Objective = "training") -> AnyPlan:
        """The plan that a batch of this size runs.

        It is one for training wherever it runs: a trace does not show whether it will be differentiated, and such a
        plan costs inference little.
        """
        return placed(self.map, self.dtype).plan_for(batch, objective)

    def use_plan(self, plan: AnyPlan | None) -> JaxLinear:
        """The same layer that runs every batch by this plan, or chooses by batch size (None); this one stays as it is.

        Raises:
            TNLayersError: If the plan was made for another network.
        """
        return replace(self, map=self.map.with_plan(plan))

    def _take(self, params: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """Cores in order of declaration (jax sorts the keys of a dict), and the bias."""
        wanted = dict(self.map.shapes) | ({"bias": (self.spec.out_features,)} if self.spec.bias else {})
        found = {name: np.shape(array) for name, array in params.items()}
        if found != wanted:
            raise TNLayersError(
                f"{self.spec} takes parameters of shapes {wanted}, got {found}. `layer.init(key)` and `layer.params` "
                "are such parameters."
            )
        return [params[name] for name in self.map.shapes], params.get("bias")

    def __repr__(self) -> str:
        return f"JaxLinear({str(self.spec)!r})"


def build(spec: Spec, *, seed: int | None = 0, dtype: Any = "float32", device: Any = None) -> JaxLinear:
    """A jax layer from a sized spec.

    Args:
        spec: The declaration.
        seed: Draws the cores with numpy's Generator; the same numbers on every backend. None takes fresh ones, which
            jax's own way does not: `layer.init(key)`.
        dtype: The cores' dtype, by name or as jax has it.
        device: A device or a sharding that all parameters are put on; jax's default device if None.

    Raises:
        TNLayersError: If jax has no such dtype, or is not in its 64-bit mode and would silently take another.
    """
    name = checked_dtype(dtype)
    linear = LinearMap(spec, name, buckets=())  # plans are made while a call is traced
    rng = np.random.default_rng(seed)
    params = draw_layer(linear.graphs, default_variance(spec.in_features), rng, name)
    if spec.bias:
        params["bias"] = draw_bias(spec.in_features, spec.out_features, rng, name)
    # Rounded by numpy: jax would compile a conversion for every shape.
    arrays = {key: jnp.asarray(array.astype(jnp.dtype(name))) for key, array in params.items()}
    return JaxLinear(jax.device_put(arrays, device), linear)


def drawn(spec: Spec, dtype: Any, key: jax.Array) -> JaxLinear:
    """A layer from a sized spec by jax's own generator.

    Args:
        spec: The declaration.
        dtype: The cores' dtype, by name or as jax has it.
        key: As `jax.random.key(0)` makes it.

    Raises:
        TNLayersError: As for `build`.
    """
    empty = JaxLinear({}, LinearMap(spec, checked_dtype(dtype), buckets=()))
    return replace(empty, params=empty.init(key))


@jax.jit
def vjp(layer: JaxLinear, x: jax.Array, grad_y: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The output, and the gradients of sum(output * grad_y) by "x" and by each parameter's name."""
    y, pull = jax.vjp(lambda layer, x: layer(x), layer, x)
    by_layer, by_x = pull(grad_y)
    return y, {"x": by_x, **by_layer.params}
