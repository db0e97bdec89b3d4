"""Fresh parameters by jax's own generator, which works under `jit` and `vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import jax
import jax.numpy as jnp

from tnlayers.cores.initialise import is_complex, layer_norms
from tnlayers.declare.graph import Graph


def draw_cores(graphs: Sequence[Graph], variance: float, key: jax.Array, dtype: str) -> dict[str, jax.Array]:
    """Cores such that the mean of E[|W|^2] is `variance`, as `tnlayers.cores.initialise.draw_layer` draws them."""
    shapes = {name: shape for graph in graphs for name, shape in graph.shapes.items()}
    norms = layer_norms(graphs, variance)
    wide = jnp.promote_types(dtype, jnp.float32)  # half precision is rounded once, at the end
    sizes = [prod(shape) for shape in shapes.values()]
    # One draw for all cores: each draw adds seconds to compilation.
    entries = jax.random.normal(key, (sum(sizes),), wide)
    parts = jnp.split(entries, list(accumulate(sizes))[:-1])
    made = {name: norms[name] / jnp.linalg.norm(part) * part for name, part in zip(shapes, parts, strict=True)}
    return {name: made[name].reshape(shape).astype(dtype) for name, shape in shapes.items()}


def draw_vector(key: jax.Array, shape: tuple[int, ...], bound: float, dtype: str) -> jax.Array:
    """Entries uniform within a bound, of half its square in each part where they are complex."""
    wide = jnp.promote_types(dtype, jnp.float32)
    if not is_complex(dtype):
        return jax.random.uniform(key, shape, wide, -bound, bound).astype(dtype)
    bound /= 2**0.5
    real, imaginary = jax.random.uniform(key, (2, *shape), jnp.empty(0, wide).real.dtype, -bound, bound)
    return jax.lax.complex(real, imaginary).astype(dtype)
