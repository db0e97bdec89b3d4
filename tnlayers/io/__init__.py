"""Files: saving and loading layers and models as safetensors, and cores of other libraries. See `docs/files.md`."""

from tnlayers.io.foreign import from_deeplearning_mpo, from_tltorch, from_torch_mpo, from_torchtt
from tnlayers.io.loading import header, load
from tnlayers.io.saving import save

__all__ = ["from_deeplearning_mpo", "from_tltorch", "from_torch_mpo", "from_torchtt", "header", "load", "save"]
