"""The jax backend: layers are pytrees whose leaves are the cores."""

from __future__ import annotations

from tnlayers_backends.base import Backend
from tnlayers_backends.jax.dtypes import DTYPES
from tnlayers_backends.jax.linear import JaxLinear, build, vjp
from tnlayers_backends.jax.primitives import OPS
from tnlayers_backends.jax.storage import STORAGE
from tnlayers_backends.jax.timing import timed

BACKEND = Backend(
    name="jax",
    arrays=("jax", "jaxlib"),
    dtypes=DTYPES,
    ops=OPS,
    build=build,
    storage=STORAGE,
    vjp=vjp,
    timed=timed,
)

__all__ = ["BACKEND", "JaxLinear"]
