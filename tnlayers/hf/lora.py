"""LoRA of the library PEFT on layers that are networks: targets, and merging that is exact.

PEFT adds the change of LoRA to `layer.weight`, which a network computes. Here merging gives a layer whose network is
the sum of the old one and of LoRA's factors, a term of low rank: the same function, and still a network.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tnlayers_backends.torch.layers.linear import TNLinear
from tnlayers_backends.torch.layers.summed import with_low_rank
from torch import nn

from tnlayers.errors import TNLayersError

try:
    import peft
    from peft.tuners.lora.layer import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
except ImportError as error:
    raise TNLayersError(f"tnlayers.hf.lora needs PEFT, which cannot be imported: {error}. pip install peft.") from error

ALL = "all-linear"


class TNLoraLinear(Linear):
    """PEFT's LoRA layer on a `TNLinear`; merging exchanges the layer for one of a sum, and unmerging takes it back."""

    def _get_in_out_features(self, module: nn.Module) -> tuple[int, int]:
        """As PEFT's, which knows no networks."""
        assert isinstance(module, TNLinear)
        return module.in_features, module.out_features

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Make the changes part of the network.

        Args:
            safe_merge: Whether to refuse numbers that are not finite.
            adapter_names: Which; all that are active if None.

        Raises:
            TNLayersError: If an adapter is more than a product of two matrices (DoRA and other variants).
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) or [] if name in self.lora_A]
        layer: Any = self.get_base_layer()
        first = layer
        for name in names:
            layer = self._merged(layer, name, safe_merge)
        if names:
            vars(self).setdefault("_unmerged", first)
            self.base_layer = layer
            self.merged_adapters += names

    def unmerge(self) -> None:
        """Take the layer back that was there before, to the bit."""
        before = vars(self).pop("_unmerged", None)
        if before is not None:
            self.base_layer = before
            self.merged_adapters.clear()

    def _merged(self, layer: TNLinear, name: str, safe: bool) -> TNLinear:
        if name in self.lora_variant:
            raise TNLayersError(
                f"The adapter {name!r} is a {type(self.lora_variant[name]).__name__}, which changes the weight by more "
                "than a product of two matrices, and a network cannot take that in exactly. Keep it as an adapter, or "
                "make the layer dense first (to_linear)."
            )
        into: Any = self.lora_A[name]
        out: Any = self.lora_B[name]
        down, up, scale = into.weight.detach(), out.weight.detach(), self.scaling[name]
        bias = out.bias.detach() * scale if self.lora_bias[name] else None
        if safe and not (down.isfinite().all() and up.isfinite().all()):
            raise ValueError(f"NaNs detected in the merged weights. The adapter {name} seems to be broken")
        return with_low_rank(layer, down, up * scale, bias)


def registered(config: Any, model: nn.Module | None = None) -> Any:
    """A copy of a LoRA configuration by which PEFT takes networks.

    Args:
        config: A `peft.LoraConfig`.
        model: What it is for: with `target_modules="all-linear"`, of which PEFT sees classes of torch alone, its
            networks become targets too.

    Raises:
        TNLayersError: If it is another method's configuration.
    """
    if not isinstance(config, peft.LoraConfig):
        raise TNLayersError(
            f"Networks take peft.LoraConfig, got a {type(config).__name__}; tnl.nn.TNAdapter adds others."
        )
    own: Any = deepcopy(config)
    own._register_custom_module({TNLinear: TNLoraLinear})
    if model is not None and isinstance(own.target_modules, str) and own.target_modules.lower() == ALL:
        own.target_modules = set(_linear(model))
    return own


def _linear(model: nn.Module) -> list[str]:
    """The linear layers of a model, networks and others, but for its head, as PEFT leaves it out."""
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    found = [
        name
        for name, module in model.named_modules()
        if module is not head and (isinstance(module, (nn.Linear, TNLinear)) or type(module).__name__ == "Conv1D")
    ]
    inside = [name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    return [name for name in found if not name.startswith(tuple(f"{one}." for one in inside))]


def get_peft_model(model: nn.Module, config: Any, **keywords: Any) -> Any:
    """`peft.get_peft_model` for a model some of whose layers are networks.

    Args:
        model: A model, such as `tnl.compress` gives.
        config: A `peft.LoraConfig`; "all-linear" targets networks too.
        **keywords: As PEFT's takes them.

    Raises:
        TNLayersError: If it is another method's configuration.

    Example:
        >>> import peft, tnlayers as tnl
        >>> model = nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=2, seed=0))
        >>> tuned = get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0"]))
        >>> tuned.merge_and_unload()[0].spec
        Spec('mpo(in=4x4, out=4x4, bias=true, bond=2) + lowrank(in=16, out=16, rank=2)')
    """
    return peft.get_peft_model(model, registered(config, model), **keywords)


def load_adapter(model: nn.Module, folder: str, **keywords: Any) -> Any:
    """`peft.PeftModel.from_pretrained` for such a model: the base is loaded first, then what PEFT saved of the adapter.

    Args:
        model: The base model.
        folder: What `save_pretrained` of PEFT wrote.
        **keywords: As PEFT's takes them.

    Raises:
        TNLayersError: If it is another method's adapter.
    """
    config = registered(peft.PeftConfig.from_pretrained(folder))
    config.inference_mode = not keywords.pop("is_trainable", False)
    return peft.PeftModel.from_pretrained(
        model, folder, config=config, is_trainable=not config.inference_mode, **keywords
    )
