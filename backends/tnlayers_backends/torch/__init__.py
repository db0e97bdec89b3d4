"""The torch backend: layers are `nn.Module`s whose parameters are the cores."""

from __future__ import annotations

from tnlayers_backends.base import Backend, Clock
from tnlayers_backends.torch.layers.linear import from_spec
from tnlayers_backends.torch.layers.vjp import vjp
from tnlayers_backends.torch.measure import timing
from tnlayers_backends.torch.modules.storage import STORAGE
from tnlayers_backends.torch.run.primitives import OPS

BACKEND = Backend(
    name="torch",
    arrays=("torch",),
    dtypes=("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    ops=OPS,
    build=from_spec,
    storage=STORAGE,
    vjp=vjp,
    clock=Clock(threads=lambda: timing.threads(), seconds=lambda plans: timing.seconds(plans)),
)

__all__ = ["BACKEND"]
