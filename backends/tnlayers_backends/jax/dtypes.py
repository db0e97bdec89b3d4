"""The dtypes of jax layers, and which of them jax has in its present mode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tnlayers.errors import TNLayersError

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


def checked_dtype(dtype: Any) -> str:
    """The name of a dtype that jax has in its present mode.

    Raises:
        TNLayersError: If it has not.
    """
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", getattr(dtype, "__name__", str(dtype)))
    if name not in DTYPES:
        raise TNLayersError(f"A jax layer cannot have dtype {name!r}; use one of {', '.join(DTYPES)}.")
    if jax.dtypes.canonicalize_dtype(name) != jnp.dtype(name):
        narrow = jax.dtypes.canonicalize_dtype(name).name
        raise TNLayersError(
            f"dtype {name!r} was asked, but jax makes {narrow} of it unless its 64-bit mode is on. Turn it on with "
            "jax.config.update('jax_enable_x64', True) before the first array is made, or with JAX_ENABLE_X64=1 in "
            f"the environment; or build with dtype={narrow!r}."
        )
    return name
