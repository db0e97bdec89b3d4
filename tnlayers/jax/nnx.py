"""Layers of cores as Flax NNX modules. Importing this module imports jax and flax."""

from importlib.util import find_spec

from tnlayers.backends import backend
from tnlayers.errors import TNLayersError

backend("jax")  # without jax this refuses and names the extra to install, before the imports below fail
if find_spec("flax") is None:
    raise TNLayersError("tnlayers.jax.nnx is for Flax NNX, which is not installed here: pip install flax.")

from tnlayers_backends.jax.nnx import MPOLinear, TNGRUCell, TNLinear, TNLSTMCell, TNSimpleCell  # noqa: E402
from tnlayers_backends.jax.nnx_adapter import TNAdapter  # noqa: E402
from tnlayers_backends.jax.nnx_attention import TNMultiHeadAttention  # noqa: E402
from tnlayers_backends.jax.nnx_conv import TNConv  # noqa: E402
from tnlayers_backends.jax.nnx_layers import (  # noqa: E402
    Frozen,
    TNBilinear,
    TNEmbedding,
    TNEmbeddingBag,
    TNModule,
    TNTensorLinear,
)
from tnlayers_backends.jax.nnx_recurrent import TNGRU, TNLSTM, TNRNN  # noqa: E402

__all__ = [
    "TNGRU",
    "TNLSTM",
    "TNRNN",
    "Frozen",
    "MPOLinear",
    "TNAdapter",
    "TNBilinear",
    "TNConv",
    "TNEmbedding",
    "TNEmbeddingBag",
    "TNGRUCell",
    "TNLSTMCell",
    "TNLinear",
    "TNModule",
    "TNMultiHeadAttention",
    "TNSimpleCell",
    "TNTensorLinear",
]
