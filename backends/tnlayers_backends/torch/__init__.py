"""The torch backend: layers are `nn.Module`s whose parameters are the cores."""

from __future__ import annotations

from tnlayers_backends.base import Backend
from tnlayers_backends.torch.linear import from_spec
from tnlayers_backends.torch.ops import OPS
from tnlayers_backends.torch.storage import STORAGE

BACKEND = Backend(name="torch", ops=OPS, build=from_spec, storage=STORAGE)

__all__ = ["BACKEND"]
