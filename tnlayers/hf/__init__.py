"""Models of Hugging Face's transformers, saved and loaded by their own `save_pretrained` and `from_pretrained`.

Importing this module registers it with transformers; see `docs/hf.md`. It needs the extra: `pip install tnlayers[hf]`.
"""

from __future__ import annotations

from tnlayers.errors import TNLayersError

try:
    from tnlayers.hf.card import model_card, save_pretrained
    from tnlayers.hf.quantizer import TNLayersConfig, TNLayersQuantizer, attach
except ImportError as error:
    raise TNLayersError(
        f"tnlayers.hf is about models of transformers 5.24 or newer, which cannot be imported: {error}. Install it: "
        "pip install tnlayers[hf]."
    ) from error

__all__ = ["TNLayersConfig", "TNLayersQuantizer", "attach", "model_card", "save_pretrained"]
