"""Configurations of Hugging Face's models say that weights are networks now, so that `from_pretrained` refuses them.

`save_pretrained` writes the cores under their names, which the class does not know: `from_pretrained` would draw the
dense weights at random and only warn. A `quantization_config` without a `quant_method` is refused by every
`from_pretrained`, whatever its other arguments (`AutoHfQuantizer.supports_quant_method`), so that is the mark. The
model in memory does not read it, and `from_config` does not either. Known by attributes: transformers need not be
installed. `tnlayers.hf`, once imported, puts a table of the networks beside the mark, by which they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.quantised import Quantised

MARK = "tnlayers"
TEXT = (
    "Some weights of this checkpoint are tensor networks of the library tnlayers, which from_pretrained would replace "
    "by random numbers. Say import tnlayers.hf first, and from_pretrained loads them. Files that were saved without "
    "tnlayers.hf have no table of layers here: save such a model with tnlayers.save(model, file) and load it with "
    "tnlayers.load(file, into=AutoModel.from_config(config))."
)
MARKERS: list[Callable[[nn.Module], None]] = []  # what else is done to a model that holds networks now


def mark(model: nn.Module) -> None:
    """Mark the configuration of a model, and of every model in it, that holds networks."""
    for module in pretrained(model):
        config: Any = module.config
        before: Any = getattr(config, "quantization_config", None)
        if not (isinstance(before, dict) and MARK in before):
            old = before.to_dict() if hasattr(before, "to_dict") else before
            config.quantization_config = {MARK: TEXT} | ({"before": old} if old else {})
    for marker in MARKERS:
        marker(model)


def unmark(model: nn.Module) -> None:
    """Take the mark away from configurations of models that hold no networks any more."""
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        known = getattr(config, "quantization_config", None)
        if not (isinstance(known, dict) and MARK in known) or any(map(_is_other, module.modules())):
            continue
        if "before" in known:
            config.quantization_config = known["before"]
        else:
            del config.quantization_config
    for module in model.modules():
        if "hf_quantizer" in vars(module) and not any(map(_is_other, module.modules())):
            del module.hf_quantizer
            vars(module).pop("resize_token_embeddings", None)


def pretrained(model: nn.Module) -> list[nn.Module]:
    """The models of Hugging Face in a model, itself first, that hold networks."""
    return [
        module
        for module in model.modules()
        if hasattr(module, "save_pretrained")
        and hasattr(getattr(module, "config", None), "to_dict")
        and any(map(_is_other, module.modules()))
    ]


def _is_other(module: nn.Module) -> bool:
    """Whether files hold a module's weight in other tensors than its class does: cores, or codes of few bits."""
    return isinstance(module, (TNModule, Quantised))
