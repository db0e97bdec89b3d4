"""Vectors through a linear map on jax, by the plan for their number, the cores' dtype and the rates of jax's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from tnlayers.cores.linear_map import LinearMap
from tnlayers.machine.rates import Machine
from tnlayers.machine.saved_rates import is_measured, machine
from tnlayers_backends.jax import planned
from tnlayers_backends.jax.primitives import OPS

# The batch that is planned for where the trace does not know it: `jax.export` with a symbolic batch.
_TRACED_BATCH = 128


def multiply(linear: LinearMap, x: jax.Array, cores: Sequence[jax.Array], *, by_jax: bool) -> jax.Array:
    """Vectors (..., in) through a map, by the plan for their number.

    Args:
        linear: The map.
        x: The vectors.
        cores: The cores, in order of declaration.
        by_jax: Whether jax differentiates everything by itself.
    """
    linear = placed(linear, str(jnp.result_type(*cores)))
    in_chunks = linear.pinned is not None or planned.uses_chunks()  # a plan that was given is followed everywhere
    run = partial(planned.run, forward_mode=by_jax) if in_chunks else None
    y: jax.Array = linear.apply(OPS, x, cores, linear.plan_for(batch_of(x.shape[:-1]), "training"), run)
    return y


def placed(linear: LinearMap, dtype: str) -> LinearMap:
    """A map that plans for cores of a dtype, which a cast may have changed, and by XLA's rates where they are saved."""
    device = xla_name()
    device = device if is_measured(device, dtype) else linear.device
    if (dtype, device) == (linear.dtype, linear.device):
        return linear  # itself: it holds the plans that were made with it
    return _placed(linear, dtype, device, machine(device, dtype))


@lru_cache(maxsize=1024)
def _placed(linear: LinearMap, dtype: str, device: str, rates: Machine) -> LinearMap:
    """One map for equal ones, as it holds its plans; another one where the rates have changed."""
    return replace(linear, dtype=dtype, device=device, buckets=())


def xla_name() -> str:
    """What the rates of jax's default device are saved by, such as "xla cpu"."""
    return f"xla {jax.devices()[0].device_kind}"


def batch_of(leading: Sequence[Any]) -> int:
    """How many vectors, or what is planned for where that is a symbol."""
    return prod(leading) if all(isinstance(size, int) for size in leading) else _TRACED_BATCH
