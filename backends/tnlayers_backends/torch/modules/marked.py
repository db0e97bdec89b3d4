"""Configurations of Hugging Face's models say that weights are networks now, so that `from_pretrained` refuses them.

`save_pretrained` writes the cores under their names, which the class does not know: `from_pretrained` would draw the
dense weights at random and only warn. A `quantization_config` without a `quant_method` is refused by every
`from_pretrained`, whatever its other arguments (`AutoHfQuantizer.supports_quant_method`), so that is the mark. The
model in memory does not read it, and `from_config` does not either. Known by attributes: transformers need not be
installed.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tnlayers_backends.torch.layers.module import TNModule

MARK = "tnlayers"
_TEXT = (
    "Some weights of this checkpoint are tensor networks of the library tnlayers, which from_pretrained would replace "
    "by random numbers. Save the model with tnlayers.save(model, file) and load it with tnlayers.load(file, "
    "into=AutoModel.from_config(config)), where this entry is left out or not."
)


def mark(model: nn.Module) -> None:
    """Mark the configuration of a model, and of every model in it, that holds networks."""
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if not (hasattr(module, "save_pretrained") and hasattr(config, "to_dict")):
            continue
        before: Any = getattr(config, "quantization_config", None)
        marked = isinstance(before, dict) and MARK in before
        if not marked and any(isinstance(part, TNModule) for part in module.modules()):
            old = before.to_dict() if hasattr(before, "to_dict") else before
            config.quantization_config = {MARK: _TEXT} | ({"before": old} if old else {})
