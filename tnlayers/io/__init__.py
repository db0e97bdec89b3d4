"""Files: saving and loading layers and models as safetensors. `docs/files.md` describes the format."""

from tnlayers.io.loading import header, load
from tnlayers.io.saving import save

__all__ = ["header", "load", "save"]
