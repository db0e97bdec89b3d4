"""Layers of cores as Equinox modules. Importing this module imports jax and equinox."""

from importlib.util import find_spec

from tnlayers.backends import backend
from tnlayers.errors import TNLayersError

backend("jax")  # without jax this refuses and names the extra to install, before the imports below fail
if find_spec("equinox") is None:
    raise TNLayersError("tnlayers.jax.eqx is for Equinox, which is not installed here: pip install equinox.")

from tnlayers_backends.jax.eqx import MPOLinear, TNGRUCell, TNLinear, TNLSTMCell, TNRNNCell  # noqa: E402
from tnlayers_backends.jax.eqx_adapter import TNAdapter  # noqa: E402
from tnlayers_backends.jax.eqx_attention import TNMultiheadAttention  # noqa: E402
from tnlayers_backends.jax.eqx_layers import (  # noqa: E402
    TNBilinear,
    TNConv1d,
    TNConv2d,
    TNConv3d,
    TNEmbedding,
    TNEmbeddingBag,
    TNModule,
    TNTensorLinear,
)
from tnlayers_backends.jax.eqx_recurrent import TNGRU, TNLSTM, TNRNN  # noqa: E402

__all__ = [
    "TNGRU",
    "TNLSTM",
    "TNRNN",
    "MPOLinear",
    "TNAdapter",
    "TNBilinear",
    "TNConv1d",
    "TNConv2d",
    "TNConv3d",
    "TNEmbedding",
    "TNEmbeddingBag",
    "TNGRUCell",
    "TNLSTMCell",
    "TNLinear",
    "TNModule",
    "TNMultiheadAttention",
    "TNRNNCell",
    "TNTensorLinear",
]
