"""What a model's replaced layers cost: parameter counts and the compression ratio, as the paper counts them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from tnlayers.models.differences import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One replaced layer.

    Attributes:
        name: The module's name.
        replaces: The dense layer in words.
        spec: The declaration as built, bonds clipped.
        parameters: Entries of the cores, biases excluded.
        uniform_parameters: The same by the paper's formula with the asked bond everywhere (more where one is clipped).
        dense_weights: Entries of the dense weight.
        bias: Entries of the bias.
        notes: What was adjusted.
    """

    name: str
    replaces: str
    spec: str
    parameters: int
    uniform_parameters: int
    dense_weights: int
    bias: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """A model with a network, beside its dense twin.

    Attributes:
        model: Name of the model.
        network: What was asked for: "mpo", a template, or "dense".
        replaced: Weights of the replaced layers, by network type and "dense"; no biases.
        rho: The compression ratio: the first over the second (arXiv 1904.06194, Eq. 7); 1.0 for the dense model.
        total: Of the whole model, by network type and "dense": "weights" without biases and normalisation, and
            "trainable" with them.
        layers: One entry per replaced layer.
        differences: Where the paper and its code disagree on this model, and what is done here.
    """

    model: str
    network: str
    replaced: dict[str, int]
    rho: float
    total: dict[str, dict[str, int]]
    layers: tuple[LayerReport, ...]
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, as `tnlayers describe --json` prints it."""
        return asdict(self)


def count(model: nn.Module) -> dict[str, int]:
    """Parameters of a module: "weights" (no biases, no normalisation layers) and all "trainable" ones."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    weights = sum(
        parameter.numel()
        for module in model.modules()
        if not isinstance(module, norms)
        for name, parameter in module.named_parameters(recurse=False)
        if name != "bias"
    )
    return {"weights": weights, "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad)}
