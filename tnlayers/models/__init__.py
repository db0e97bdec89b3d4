"""The paper's networks and GPTs: `build`, `describe`, `gpt`, `generate`, and the classes. Importing it imports torch.

Example:
    >>> import tnlayers as tnl
    >>> tnl.models.describe("fc2", network="mpo").rho
    0.07666876574307305
"""

from __future__ import annotations

from collections.abc import Mapping

from tnlayers.backends import backend
from tnlayers.declare.arguments import checks_arguments, text

backend("torch")  # without torch this refuses and names the extra to install, before the imports below fail

import torch  # noqa: E402
from torch import nn  # noqa: E402

from tnlayers.models.catalogue import Entry, find, names  # noqa: E402
from tnlayers.models.decoder import GPT  # noqa: E402
from tnlayers.models.densenet import DenseNet  # noqa: E402
from tnlayers.models.differences import Difference, differences  # noqa: E402
from tnlayers.models.fc2 import FC2  # noqa: E402
from tnlayers.models.generating import generate  # noqa: E402
from tnlayers.models.gpt_shape import Shape  # noqa: E402
from tnlayers.models.initial import reset_language  # noqa: E402
from tnlayers.models.lenet5 import LeNet5  # noqa: E402
from tnlayers.models.report import LayerReport, ModelReport, count  # noqa: E402
from tnlayers.models.resnet import ResNet  # noqa: E402
from tnlayers.models.sites import Site, network_kind  # noqa: E402
from tnlayers.models.vgg import VGG  # noqa: E402

__all__ = [
    "FC2",
    "GPT",
    "VGG",
    "DenseNet",
    "Difference",
    "Entry",
    "LayerReport",
    "LeNet5",
    "ModelReport",
    "ResNet",
    "Shape",
    "Site",
    "build",
    "describe",
    "find",
    "generate",
    "gpt",
    "names",
]


@checks_arguments(network=text)
def build(name: str, *, network: str = "mpo", seed: int | None = None) -> nn.Module:
    """Build one of the models by name, with its initial weights.

    Args:
        name: One of `names()`, a ResNet of another depth 6n + 2, or a GPT of other sizes, as `Shape.name` says them.
        network: "dense"; "mpo" for the paper's factors and bonds; a template such as "mpo(bond=8)"; or a type's name
            and "(equal)", such as "cp(equal)", for the size of the type with about as many parameters in each place as
            the paper's MPO has.
        seed: Decides the initial weights; None takes torch's global generator.

    Raises:
        TNLayersError: If the model or the network is unknown.

    Example:
        >>> model = build("resnet8", network="dense", seed=0)
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    entry = find(name)
    model = entry.make(network)
    entry.reset(model, seed)
    return model


def gpt(
    network: str | Mapping[str, str] = "dense",
    *,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    context: int = 256,
    vocabulary: int = 65,
    hidden: int | None = None,
    tied: bool = False,
    seed: int | None = None,
) -> GPT:
    """Build a language model with its initial weights; the defaults are those of `gpt-pico`.

    Args:
        network: For all linear layers, or a mapping from patterns of places to networks; see `GPT`.
        width: Features of every token.
        depth: Blocks.
        heads: Of the attention.
        context: Tokens that it reads at most.
        vocabulary: Different tokens.
        hidden: Features inside the feed-forward part; None is four times the width.
        tied: Whether the head's weight is the table of embeddings; the head then stays dense.
        seed: Decides the initial weights; None takes torch's global generator.

    Raises:
        TNLayersError: If a size is out of range, or the network is unknown or does not fit.

    Example:
        >>> model = gpt({"*.attention.*": "mpo(bond=4)"}, width=32, depth=2, heads=2, context=16, seed=0)
        >>> model(torch.zeros(1, 16, dtype=torch.int64)).shape, model.name
        (torch.Size([1, 16, 65]), 'gpt-w32-d2-h2-c16-v65')
    """
    shape = Shape(
        width=width, depth=depth, heads=heads, context=context, vocabulary=vocabulary, hidden=hidden, tied=tied
    )
    model = GPT(network, shape)
    reset_language(model, seed)
    return model


def describe(name: str, *, network: str = "mpo") -> ModelReport:
    """Count a model's parameters beside those of its dense twin; nothing is allocated.

    Args:
        name: As for `build`.
        network: As for `build`.

    Raises:
        TNLayersError: If the model or the network is unknown.

    Example:
        >>> report = describe("fc2", network="mpo")
        >>> report.replaced, round(report.rho, 4)
        ({'mpo': 15584, 'dense': 203264}, 0.0767)
    """
    entry = find(name)
    kind = network_kind(network)
    with torch.device("meta"):
        total = {"dense": count(entry.make("dense"))}
        if network != "dense":
            total = {kind: count(entry.make(network))} | total
    layers = tuple(_layer_report(site, network) for site in entry.sites) if network != "dense" else ()
    dense = sum(site.dense_weights for site in entry.sites)
    replaced = {"dense": dense}
    if network != "dense":
        replaced = {kind: sum(layer.parameters for layer in layers)} | replaced
    return ModelReport(
        model=name,
        network=network,
        replaced=replaced,
        rho=next(iter(replaced.values())) / dense,
        total=total,
        layers=layers,
        differences=differences(name),
    )


def _layer_report(site: Site, network: str) -> LayerReport:
    spec = site.spec(network)
    return LayerReport(
        name=site.name,
        replaces=site.replaces,
        spec=str(spec),
        parameters=spec.parameters,
        uniform_parameters=site.uniform_parameters(network),
        dense_weights=site.dense_weights,
        bias=spec.out_features if spec.bias else 0,
        notes=spec.notes,
    )
