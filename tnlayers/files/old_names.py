"""Modules by the names that they had before 0.2: those that the documentation named, and those that pickles name.

Files of this library name no modules; pickles of whole layers do, and backends of others import what their guide
imported. Each old name is a module that looks its attributes up in the new one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_TORCH = "tnlayers_backends.torch"

MOVED = {
    "tnlayers.backward": "tnlayers.program.sweep",
    "tnlayers.chain": "tnlayers.program.chain",
    "tnlayers.convmap": "tnlayers.cores.conv_map",
    "tnlayers.convplan": "tnlayers.planning.conv_plan",
    "tnlayers.cost": "tnlayers.pricing.counts",
    "tnlayers.initialise": "tnlayers.cores.initialise",
    "tnlayers.kernel": "tnlayers.declare.kernel",
    "tnlayers.layer": "tnlayers.cores.linear_map",
    "tnlayers.lookup": "tnlayers.cores.lookup",
    "tnlayers.lower": "tnlayers.declare.graph",
    "tnlayers.plan": "tnlayers.planning.plan",
    "tnlayers.spec": "tnlayers.declare.spec",
    "tnlayers.window": "tnlayers.declare.window",
    f"{_TORCH}.attention": f"{_TORCH}.layers.attention",
    f"{_TORCH}.conv": f"{_TORCH}.layers.conv",
    f"{_TORCH}.embedding": f"{_TORCH}.layers.embedding",
    f"{_TORCH}.linear": f"{_TORCH}.layers.linear",
    f"{_TORCH}.module": f"{_TORCH}.layers.module",
    f"{_TORCH}.prepared": f"{_TORCH}.run.prepared",
    f"{_TORCH}.recurrent": f"{_TORCH}.layers.recurrent_cells",
    f"{_TORCH}.recurrent_layers": f"{_TORCH}.layers.recurrent_layers",
    f"{_TORCH}.tensor_linear": f"{_TORCH}.layers.tensor_linear",
}


class _Root(ModuleType):
    """The root package. An import puts a module into its package under its name, where two would hide a function."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, _Old) and name in vars(self)):
            super().__setattr__(name, value)


class _Old(ModuleType):
    """A module by its old name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(MOVED[self.__name__]), name)


class _Finder(MetaPathFinder, Loader):
    """Finds the old names, after everything that really is there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Old(spec.name, f"The old name of `{MOVED[spec.name]}`.")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: attributes are looked up when they are asked for."""


def install() -> None:
    """Let the old names be imported from now on."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    sys.modules["tnlayers"].__class__ = _Root
