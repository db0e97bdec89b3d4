"""What transformers calls: the entry of `config.json`, and building the networks before `from_pretrained` fills them.

A quantizer is the way by which transformers lets others build modules of their own between the making of a model and
the loading of its tensors; nothing is quantised here. The entry in `config.json` has no `quant_method`, so that where
this module is not imported every `from_pretrained` refuses it (`torch/modules/marked.py`). Importing this module makes
transformers know the entry by its mark.
"""

from __future__ import annotations

from typing import Any

import torch
from tnlayers_backends.torch.layers.expert_stack import ExpertStack
from tnlayers_backends.torch.layers.feature_orders import check_orders
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.layers.quantised import all_codes
from tnlayers_backends.torch.modules.marked import MARK, MARKERS, pretrained
from tnlayers_backends.torch.modules.saved import place
from torch import nn
from transformers.quantizers import auto
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from tnlayers.errors import TNLayersError
from tnlayers.hf.resizing import guard_resizing
from tnlayers.hf.table import check_table, layers_from, table_of

METHOD = "tnlayers"


class TNLayersConfig(QuantizationConfigMixin):
    """The table of a model's networks in its configuration, checked.

    Args:
        **table: As `config.json` has it.

    Raises:
        TNLayersError: If it is damaged, of a newer format, or missing.
    """

    def __init__(self, **table: Any) -> None:
        check_table(table)
        self.quant_method: Any = METHOD
        self.table = {key: value for key, value in table.items() if key != "quant_method"}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """The same of a dictionary, as transformers asks for it."""
        found = cls(**config_dict)
        return (found, kwargs) if return_unused_kwargs else found

    def to_dict(self) -> dict[str, Any]:
        """The entry of `config.json`, which has no `quant_method`."""
        return dict(self.table)


class TNLayersQuantizer(HfQuantizer):
    """Builds the networks of a checkpoint in `from_pretrained`, and describes those of a model in `save_pretrained`."""

    requires_calibration = False
    quantization_config: TNLayersConfig

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> None:
        """Put the networks, still without numbers, in the place of dense modules, still without numbers."""
        dtype = kwargs.get("dtype") or torch.get_default_dtype()
        place(model, layers_from(self.quantization_config.table, model, dtype))
        _check_ties(model)

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> None:
        """Refuse networks that the files did not fill; the model is an ordinary one otherwise."""
        for path, layer in model.named_modules():
            if isinstance(layer, TNModule):
                _check_filled(path, layer)
        _mark_ties(model)
        for module in pretrained(model):
            config: Any = module.config
            if hasattr(config, "_is_quantized"):
                del config._is_quantized
        for name in ("is_quantized", "quantization_method"):  # in whose presence no Trainer takes a model
            vars(model).pop(name, None)
        attach(model)

    def get_state_dict_and_metadata(self, model: nn.Module) -> tuple[None, dict[str, str]]:
        """Bring the table up to date, before `save_pretrained` writes the configuration."""
        if codes := all_codes(model):
            raise TNLayersError(
                f"save_pretrained has no form for {next(iter(codes))}, which is codes of few bits. Save the model by "
                "tnlayers.save(model, file) and load it by tnlayers.load(file, into=AutoModel.from_config(config)), or "
                "make ordinary numbers of its codes first: tnlayers.dequantise(model)."
            )
        _write_tables(model)
        _say_ties(model)
        if any(isinstance(module, ExpertStack) for module in model.modules()):
            # Files keep the names that modules have: transformers would split whole parameters of experts up again.
            vars(model)["_weight_conversions"] = []
        return None, {}

    def is_serializable(self) -> bool:
        """Whether `save_pretrained` may write the model: yes."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether the model trains: as any other."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Whether `torch.compile` takes it: as any other."""
        return True


def attach(model: nn.Module) -> None:
    """Make `save_pretrained` of a model with networks write their table; `tnl.compress` and `tnl.load` have done it.

    Args:
        model: A model of transformers, or one that holds such models, in which layers were replaced by hand.

    Example:
        >>> import tnlayers as tnl
        >>> from transformers import GPT2Config, GPT2Model
        >>> model = GPT2Model(GPT2Config(vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2))
        >>> model.h[0].mlp.c_fc = tnl.nn.MPOLinear(16, 64, cores=2)
        >>> attach(model)
        >>> [entry["layer"]["paths"] for entry in model.config.quantization_config["layers"]]
        [['h.0.mlp.c_fc']]
    """
    _write_tables(model)
    module: Any
    for module in pretrained(model):
        module.hf_quantizer = TNLayersQuantizer(_Described(), pre_quantized=True)
        guard_resizing(module)


class _Described(TNLayersConfig):
    """Stands where transformers asks a quantizer for its configuration; the table is the model's own."""

    def __init__(self) -> None:
        self.quant_method: Any = METHOD


def _write_tables(model: nn.Module) -> None:
    written: list[object] = []
    for module in pretrained(model):
        config: Any = module.config
        if not any(config is one for one in written):  # a model and its base have one, which is the model's
            before = getattr(config, "quantization_config", None)
            old = before.get("before") if isinstance(before, dict) else None
            config.quantization_config = table_of(module) | ({"before": old} if old else {})
            written.append(config)


def _check_filled(path: str, layer: TNModule) -> None:
    """Refuse a layer whose tensors did not come from the files; what is offloaded to a disk is not looked at."""
    tensors = {**layer._parameters, **layer._buffers}
    empty = [
        name
        for name, value in tensors.items()
        if value is not None and not value.is_meta and not getattr(value, "_is_hf_initialized", False)
    ]
    if empty:
        raise TNLayersError(
            f"The files of this checkpoint have no {', '.join(empty[:5])} of the network {str(layer.spec)[:120]} at "
            f"{path!r} in the shape that config.json says, so its numbers would be random. Take another copy, or save "
            "the model anew; what was trained after a change of its layers by hand is saved by save_pretrained alone."
        )
    check_orders(layer)


def _check_ties(model: nn.Module) -> None:
    """Refuse a model that ties a network to a dense weight, such as one with a head from the files of its base."""
    tied: Any = getattr(model, "all_tied_weights_keys", None) or {}
    for pair in tied.items():
        for name, other in (pair, pair[::-1]):
            path, _, leaf = name.rpartition(".")
            end = model.get_submodule(path)
            if isinstance(end, TNModule) and leaf not in end._parameters:
                raise TNLayersError(
                    f"This {type(model).__name__} ties {other} to {path}, which is a network in this checkpoint, and "
                    "the checkpoint has no network for the other end. Load the class that was saved, such as by "
                    "AutoModel, or untie them: from_pretrained(..., tie_word_embeddings=False)."
                )


def _say_ties(model: Any) -> None:
    """Have the configuration say that table and head are tied where they share their cores.

    Code that compares `weight` of both, such as PEFT's after merging, takes weights that are computed for untied ones.
    """
    try:
        ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    except (AttributeError, NotImplementedError):
        return
    firsts = [next(iter(end.cores.values())) if isinstance(end, TNModule) else None for end in ends]
    config = model.config.get_text_config()
    if firsts[0] is not None and firsts[0] is firsts[1] and not getattr(config, "tie_word_embeddings", True):
        config.tie_word_embeddings = True


def _mark_ties(model: nn.Module) -> None:
    """Let layers that share their cores know it, as those of `tnl.compress` do."""
    by_core: dict[int, list[TNModule]] = {}
    for layer in model.modules():
        if isinstance(layer, TNModule):
            by_core.setdefault(id(next(iter(layer.cores.values()))), []).append(layer)
    for layers in by_core.values():
        for layer in layers:
            layer.tied = len(layers) > 1


def register() -> None:
    """Make transformers know the mark; once is enough.

    Raises:
        TNLayersError: If this version of transformers does not ask for a method where it did in those known here.
    """
    if METHOD in auto.AUTO_QUANTIZATION_CONFIG_MAPPING:
        return
    supports = getattr(auto.AutoHfQuantizer, "supports_quant_method", None)
    if supports is None:
        import transformers

        raise TNLayersError(
            f"transformers {transformers.__version__} decides otherwise than 5.24 which checkpoints need a quantizer, "
            "so tnlayers.hf cannot register with it. Install transformers 5.24, or a newer tnlayers."
        )

    def supports_quant_method(found: Any) -> bool:
        if isinstance(found, dict) and MARK in found:
            found.setdefault("quant_method", METHOD)  # which files do not have, see above
        return bool(supports(found))

    auto.register_quantization_config(METHOD)(TNLayersConfig)
    auto.register_quantizer(METHOD)(TNLayersQuantizer)
    setattr(auto.AutoHfQuantizer, "supports_quant_method", staticmethod(supports_quant_method))  # noqa: B010
    MARKERS.append(attach)


register()
