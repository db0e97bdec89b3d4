"""The facade of the backends: find one by name, or by the arrays it owns, without importing any other framework.

The built-in backends are in a table, so that they work from a source tree that is not installed and can be named before
their framework is there. Others come from the entry-point group `tnlayers.backends` ("Write a backend" in
docs/backends.md). One that is broken says so when it is asked for, and hurts no other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from tnlayers.errors import TNLayersError, did_you_mean

if TYPE_CHECKING:
    from tnlayers_backends.base import Backend

GROUP = "tnlayers.backends"

# Built-in backend, which is also its framework's import name -> root modules of the types of its arrays.
_BUILT_IN = {"numpy": ("numpy",), "torch": ("torch",), "jax": ("jax", "jaxlib")}


def known() -> dict[str, str]:
    """Where each known backend is defined, by name: "module:attribute"."""
    return {name: point.value for name, point in _points().items()}


def installed() -> tuple[str, ...]:
    """Names of the backends that can be imported, as far as that is seen without importing one."""
    points = _points().items()
    needed = {name: name if name in _BUILT_IN else point.module.partition(".")[0] for name, point in points}
    return tuple(name for name in sorted(needed) if importlib.util.find_spec(needed[name]) is not None)


def first_installed() -> str:
    """The backend that is taken where none is named: torch if it is there, else jax, else numpy."""
    here = installed()
    return next(name for name in ("torch", "jax", "numpy") if name in here)


@cache
def backend(name: str) -> Backend:
    """The backend of that name; its framework is imported now.

    Raises:
        TNLayersError: If there is no such backend, its framework is not installed, or it is broken.

    Example:
        >>> backend("numpy").name
        'numpy'
    """
    points = _points()
    if name not in points:
        raise TNLayersError(
            f"There is no backend {name!r}.{did_you_mean(name, points)} Known backends: {', '.join(sorted(points))}."
        )
    return _load_built_in(name, points[name]) if name in _BUILT_IN else _load_foreign(name, points[name])


def backend_of(array: Any) -> Backend:
    """The backend that an array belongs to, judged by the module that defines its type.

    Backends of others are imported only where no built-in one owns the array.

    Raises:
        TNLayersError: If no known backend owns such arrays.
    """
    kind = type(array)
    return _owner(kind.__module__.partition(".")[0], f"{kind.__module__}.{kind.__qualname__}")


def backend_holding(module: Any) -> Backend:
    """The backend of a layer or a module, judged by its class or its arrays; none is imported that is not in use.

    Raises:
        TNLayersError: If it is neither.
    """
    for kind in type(module).__mro__:
        if (kind.__module__, kind.__name__) == ("torch.nn.modules.module", "Module"):
            return backend("torch")
    for name in ("cores", "params", "arrays"):
        arrays = getattr(module, name, None)
        if isinstance(arrays, Mapping) and arrays:
            return backend_of(next(iter(arrays.values())))
    raise TNLayersError(
        f"A {type(module).__module__}.{type(module).__qualname__} is neither a layer nor a module of a backend. Give a "
        "layer of tnl.build or tnl.nn, one of tnl.models, or another torch module."
    )


@cache
def _owner(root: str, kind: str) -> Backend:
    for name, roots in _BUILT_IN.items():
        if root in roots:
            return backend(name)
    broken = []
    for name in sorted(_points().keys() - _BUILT_IN.keys()):
        try:
            found = backend(name)
        except TNLayersError as error:
            broken.append(str(error))
            continue
        if root in found.arrays:
            return found
    raise TNLayersError(" ".join([f"No backend takes a {kind}; pass arrays of {' or '.join(installed())}.", *broken]))


def _points() -> dict[str, EntryPoint]:
    """All backends by name; nobody can replace a built-in one."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, f"tnlayers_backends.{name}:BACKEND", GROUP) for name in _BUILT_IN}


def _load_built_in(name: str, point: EntryPoint) -> Backend:
    try:
        found: Backend = point.load()
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise TNLayersError(
            f"Backend {name!r} is not installed. Installed: {', '.join(installed())}. `pip install tnlayers[{name}]`."
        ) from error
    return found


def _load_foreign(name: str, point: EntryPoint) -> Backend:
    """A backend of others, whose code may do anything: whatever goes wrong is reported as theirs."""
    from tnlayers_backends.base import Backend

    package = point.dist.name if point.dist is not None else "an unknown package"
    try:
        found = point.load()
    except Exception as error:
        raise TNLayersError(
            f"Backend {name!r} of {package} ({point.value}) cannot be imported: {type(error).__name__}: {error}. "
            f"Install what it needs or update {package}; without it: {', '.join(n for n in installed() if n != name)}."
        ) from error
    if not isinstance(found, Backend) or found.name != name:
        raise TNLayersError(
            f"{point.value} of {package} is {found!r:.80}, not a tnlayers_backends.base.Backend named {name!r}."
        )
    return found
