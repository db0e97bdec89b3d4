"""The numpy backend: the yardstick. A layer is a plain callable that holds its arrays in a dict."""

from __future__ import annotations

from tnlayers_backends.base import Backend
from tnlayers_backends.numpy.linear import DTYPES, NumpyLinear, run
from tnlayers_backends.numpy.primitives import OPS, NumpyOps
from tnlayers_backends.numpy.storage import STORAGE
from tnlayers_backends.numpy.timing import timed

BACKEND = Backend(
    name="numpy", arrays=("numpy",), dtypes=DTYPES, ops=OPS, build=NumpyLinear, storage=STORAGE, timed=timed
)

__all__ = ["BACKEND", "OPS", "NumpyLinear", "NumpyOps", "run"]
