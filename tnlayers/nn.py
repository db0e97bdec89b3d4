"""The torch layers: drop-in replacements for those of `torch.nn`. Importing this module imports torch."""

from typing import NoReturn

from tnlayers.backends import backend
from tnlayers.errors import TNLayersError

backend("torch")  # without torch this refuses and names the extra to install, before the imports below fail

from tnlayers_backends.torch.layers.attention import TNMultiheadAttention  # noqa: E402
from tnlayers_backends.torch.layers.bilinear import TNBilinear  # noqa: E402
from tnlayers_backends.torch.layers.conv import TNConv1d, TNConv2d, TNConv3d  # noqa: E402
from tnlayers_backends.torch.layers.embedding import TNEmbedding  # noqa: E402
from tnlayers_backends.torch.layers.embedding_bag import TNEmbeddingBag  # noqa: E402
from tnlayers_backends.torch.layers.linear import MPOLinear, TNLinear  # noqa: E402
from tnlayers_backends.torch.layers.recurrent_cells import TNGRUCell, TNLSTMCell, TNRNNCell  # noqa: E402
from tnlayers_backends.torch.layers.recurrent_layers import TNGRU, TNLSTM, TNRNN  # noqa: E402
from tnlayers_backends.torch.layers.tensor_linear import TNTensorLinear  # noqa: E402
from tnlayers_backends.torch.modules.adapter import TNAdapter  # noqa: E402
from tnlayers_backends.torch.modules.adapter_kinds import Factors, FrozenCentre, MetaTT  # noqa: E402
from tnlayers_backends.torch.modules.learning_rates import parameter_groups  # noqa: E402
from tnlayers_backends.torch.modules.matrices import MatrixSplit, matrix_optimizer, split_matrices  # noqa: E402
from tnlayers_backends.torch.modules.penalty import bond_penalty  # noqa: E402
from tnlayers_backends.torch.modules.switches import bond_dropout, checkpointed  # noqa: E402
from tnlayers_backends.torch.modules.tracing import LeafTracer, profile_labels, symbolic_trace  # noqa: E402

__all__ = [
    "TNGRU",
    "TNLSTM",
    "TNRNN",
    "Factors",
    "FrozenCentre",
    "LeafTracer",
    "MPOLinear",
    "MatrixSplit",
    "MetaTT",
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
    "TNMultiheadAttention",
    "TNRNNCell",
    "TNTensorLinear",
    "bond_dropout",
    "bond_penalty",
    "checkpointed",
    "matrix_optimizer",
    "parameter_groups",
    "profile_labels",
    "split_matrices",
    "symbolic_trace",
]


class _Absent(TNLayersError, AttributeError):
    """A layer kind that does not exist here; `hasattr` and `getattr` treat it as any missing name."""


def __getattr__(name: str) -> NoReturn:
    if name.startswith("TNConvTranspose"):
        raise _Absent(
            f"There is no {name}: transposed convolutions are not offered. Keep the dense "
            f"nn.{name.removeprefix('TN')}, or upsample (nn.Upsample) and follow with a TNConv layer."
        )
    raise _Absent(f"tnlayers.nn has no layer {name!r}; it has {', '.join(__all__)}.")
