"""tnlayers: neural-network layers declared as tensor-network graphs.

Declare a layer (`spec`, `network`, `Declaration`), look at its cost (`plan`), build it for numpy or torch (`build`,
`nn`). Importing this package loads no framework and not TensorNetwork: they load when they are first needed.
"""

from __future__ import annotations

from tnlayers.files import stopping as _stopping  # noqa: F401  # first: Ctrl-C while the rest is loaded is quiet

# isort: split
import importlib
from typing import TYPE_CHECKING, Any

# `draw`, `compress` and `explore` share their names with packages: only an import made here leaves the function under
# the name, not the package.
from tnlayers.compress import compress
from tnlayers.cores import measuring as _measuring  # noqa: F401  # gives Plan.measure its way
from tnlayers.cores.layer_plan import plan
from tnlayers.declare.modes import Modes, factorise
from tnlayers.declare.registry import network
from tnlayers.declare.spec import Spec, spec
from tnlayers.draw import draw
from tnlayers.errors import TNLayersError, TNLayersWarning
from tnlayers.explore import explore
from tnlayers.files import old_names as _old_names
from tnlayers.files.version import __version__
from tnlayers.planning.plan import Plan

_old_names.install()

# Public name -> the module that defines it, loaded on first use; "" marks a submodule.
_LAZY = {
    "Declaration": "tnlayers.declare.declaration",
    "SpectraRecorder": "tnlayers.decompose.spectra",
    "adapt": "tnlayers_backends.torch.modules.adapting",
    "adapters": "tnlayers_backends.torch.modules.adapting",
    "build": "tnlayers.cores.building",
    "dequantise": "tnlayers_backends.torch.modules.quantising",
    "draw_weights": "tnlayers.draw.weights",
    "freeze": "tnlayers_backends.torch.modules.freezing",
    "from_einsum": "tnlayers.cores.einsum",
    "frozen": "tnlayers_backends.torch.modules.freezing",
    "io": "",
    "jax": "",
    "load": "tnlayers.io",
    "load_dense": "tnlayers_backends.torch.modules.dense_checkpoint",
    "load_network": "tnlayers.networks.yaml_file",
    "merge_adapters": "tnlayers_backends.torch.modules.adapting",
    "models": "",
    "networks": "",
    "nn": "",
    "quantise": "tnlayers_backends.torch.modules.quantising",
    "repair": "tnlayers.compress.repair",
    "save": "tnlayers.io",
    "spectra": "tnlayers.decompose.spectra",
    "thaw": "tnlayers_backends.torch.modules.freezing",
    "to_backend": "tnlayers.cores.convert",
}

__all__ = [
    "Declaration",
    "Modes",
    "Plan",
    "Spec",
    "SpectraRecorder",
    "TNLayersError",
    "TNLayersWarning",
    "__version__",
    "adapt",
    "adapters",
    "build",
    "compress",
    "dequantise",
    "draw",
    "draw_weights",
    "explore",
    "factorise",
    "freeze",
    "from_einsum",
    "frozen",
    "io",
    "jax",
    "load",
    "load_dense",
    "load_network",
    "merge_adapters",
    "models",
    "network",
    "nn",
    "plan",
    "quantise",
    "repair",
    "save",
    "spec",
    "spectra",
    "thaw",
    "to_backend",
]

if TYPE_CHECKING:
    from tnlayers_backends.torch.modules.adapting import adapt, adapters, merge_adapters
    from tnlayers_backends.torch.modules.dense_checkpoint import load_dense
    from tnlayers_backends.torch.modules.freezing import freeze, frozen, thaw
    from tnlayers_backends.torch.modules.quantising import dequantise, quantise

    from tnlayers import io, jax, models, nn
    from tnlayers.compress.repair.stages import repair
    from tnlayers.cores.building import build
    from tnlayers.cores.convert import to_backend
    from tnlayers.cores.einsum import from_einsum
    from tnlayers.declare.declaration import Declaration
    from tnlayers.decompose.spectra import SpectraRecorder, spectra
    from tnlayers.draw.weights import draw_weights
    from tnlayers.io import load, save
    from tnlayers.networks.yaml_file import load_network


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tnlayers' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name] or f"tnlayers.{name}")
    value = getattr(module, name) if _LAZY[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
