"""The table of layer kinds, by the names that files have for them, and the look-up of a module's kind.

A new kind is its own file, one entry here, one name in `tnlayers/nn.py`, and one row of `tests/support/layer_rows.py`.
"""

from __future__ import annotations

from torch import nn

from tnlayers.errors import TNLayersError
from tnlayers_backends.torch.layers.bilinear_kind import BILINEAR
from tnlayers_backends.torch.layers.conv_kind import CONV1D, CONV2D, CONV3D
from tnlayers_backends.torch.layers.embedding_bag import EMBEDDING_BAG
from tnlayers_backends.torch.layers.embedding_kind import EMBEDDING
from tnlayers_backends.torch.layers.kind import LayerKind
from tnlayers_backends.torch.layers.linear_kind import LINEAR
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.ordinary import enter
from tnlayers_backends.torch.layers.tensor_linear import TENSOR_LINEAR

KINDS: dict[str, LayerKind] = {
    "linear": LINEAR,
    "conv1d": CONV1D,
    "conv2d": CONV2D,
    "conv3d": CONV3D,
    "embedding": EMBEDDING,
    "embedding_bag": EMBEDDING_BAG,
    "bilinear": BILINEAR,
    "tensor_linear": TENSOR_LINEAR,
}
_OF_LAYERS: dict[type[nn.Module], LayerKind] = {one: kind for kind in KINDS.values() for one in kind.classes}
_OF_DENSE = {kind.replaces: kind for kind in KINDS.values() if not issubclass(kind.replaces, TNModule)}
enter(*_OF_DENSE)


def find(module: nn.Module) -> LayerKind | None:
    """The kind of a layer, or that which replaces a dense module; of others None.

    Classes of others count as what they derive from.
    """
    known = _OF_LAYERS if isinstance(module, TNModule) else _OF_DENSE
    return next((known[base] for base in type(module).__mro__ if base in known), None)


def kind_of(module: nn.Module) -> LayerKind:
    """The same of a module that has one.

    Raises:
        TNLayersError: If it is of no kind.
    """
    kind = find(module)
    if kind is None:
        raise TNLayersError(
            f"{type(module).__qualname__} is of no kind of layer known here; these are {', '.join(KINDS)}. Derive it "
            "from a layer of one of them."
        )
    return kind
