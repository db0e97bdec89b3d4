"""Layers of cores as Flax NNX modules. Importing this module imports jax and flax."""

from importlib.util import find_spec

from tnlayers.backends import backend
from tnlayers.errors import TNLayersError

backend("jax")  # without jax this refuses and names the extra to install, before the imports below fail
if find_spec("flax") is None:
    raise TNLayersError("tnlayers.jax.nnx is for Flax NNX, which is not installed here: pip install flax.")

from tnlayers_backends.jax.nnx import MPOLinear, TNGRUCell, TNLinear, TNLSTMCell  # noqa: E402

__all__ = ["MPOLinear", "TNGRUCell", "TNLSTMCell", "TNLinear"]
