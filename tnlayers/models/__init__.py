"""The paper's networks as model builders: `build`, `describe`, and the classes. Importing this module imports torch.

Example:
    >>> import tnlayers as tnl
    >>> tnl.models.describe("fc2", network="mpo").rho
    0.07666876574307305
"""

from __future__ import annotations

from tnlayers.backends import backend

backend("torch")  # without torch this refuses and names the extra to install, before the imports below fail

import torch  # noqa: E402
from torch import nn  # noqa: E402

from tnlayers.errors import TNLayersError  # noqa: E402
from tnlayers.io.known import register_model  # noqa: E402
from tnlayers.models.fc2 import FC2  # noqa: E402
from tnlayers.models.initial import reset  # noqa: E402
from tnlayers.models.lenet5 import LeNet5  # noqa: E402
from tnlayers.models.report import LayerReport, ModelReport, count  # noqa: E402
from tnlayers.models.sites import Site  # noqa: E402
from tnlayers.spec import spec as make_spec  # noqa: E402

__all__ = ["FC2", "LayerReport", "LeNet5", "ModelReport", "Site", "build", "describe", "names"]

_MODELS: dict[str, type[FC2] | type[LeNet5]] = {"fc2": FC2, "lenet5": LeNet5}
for _name, _kind in _MODELS.items():
    register_model(_name, _kind)


def names() -> tuple[str, ...]:
    """Names of the registered models."""
    return tuple(_MODELS)


def build(name: str, *, network: str = "mpo", seed: int | None = None) -> nn.Module:
    """Build one of the paper's models with its initial weights.

    Args:
        name: "fc2" or "lenet5".
        network: "dense"; "mpo" for the paper's factors and bonds; or a template such as "mpo(bond=8)".
        seed: Decides the initial weights; None takes torch's global generator.

    Raises:
        TNLayersError: If the model or the network is unknown.
    """
    model = _model(name)(network)
    reset(model, seed)
    return model


def describe(name: str, *, network: str = "mpo") -> ModelReport:
    """Count a model's parameters beside those of its dense twin; nothing is allocated.

    Args:
        name: "fc2" or "lenet5".
        network: As for `build`.

    Raises:
        TNLayersError: If the model or the network is unknown.
    """
    kind = _model(name)
    with torch.device("meta"):
        total = {"dense": count(kind("dense"))}
        if network != "dense":
            total = {make_spec(network).network: count(kind(network))} | total
    layers = tuple(_layer_report(site, network) for site in kind.sites) if network != "dense" else ()
    dense = sum(site.dense_weights for site in kind.sites)
    replaced = {"dense": dense}
    if network != "dense":
        replaced = {make_spec(network).network: sum(layer.parameters for layer in layers)} | replaced
    return ModelReport(
        model=name,
        network=network,
        replaced=replaced,
        rho=next(iter(replaced.values())) / dense,
        total=total,
        layers=layers,
    )


def _model(name: str) -> type[FC2] | type[LeNet5]:
    if name not in _MODELS:
        raise TNLayersError(f"There is no model {name!r}. Known models: {', '.join(_MODELS)}.")
    return _MODELS[name]


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
