"""The facade of the backends: find one by name, or by the arrays it owns, without importing any other framework.

Backends are found through the entry-point group `tnlayers.backends`; the built-in ones are in a table as well, so that
they work from a source tree that is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers_backends.base import Backend

_BUILT_IN = {name: f"tnlayers_backends.{name}:BACKEND" for name in ("numpy", "torch", "jax")}


def known() -> dict[str, str]:
    """Where each known backend is defined, by name: "module:attribute"."""
    found = {point.name: point.value for point in entry_points(group="tnlayers.backends")}
    return found | _BUILT_IN


def installed() -> tuple[str, ...]:
    """Names of the backends whose framework can be imported; none is imported to find out."""
    return tuple(name for name in sorted(known()) if importlib.util.find_spec(name) is not None)


@cache
def backend(name: str) -> Backend:
    """The backend of that name; its framework is imported now.

    Raises:
        TNLayersError: If there is no such backend, or its framework is not installed.

    Example:
        >>> backend("numpy").name
        'numpy'
    """
    if name not in known():
        raise TNLayersError(f"There is no backend {name!r}. Known backends: {', '.join(sorted(known()))}.")
    module, _, attribute = known()[name].partition(":")
    try:
        found: Backend = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise TNLayersError(
            f"Backend {name!r} is not installed. Installed: {', '.join(installed())}. `pip install tnlayers[{name}]`."
        ) from error
    return found


def backend_of(array: Any) -> Backend:
    """The backend that an array belongs to, judged by the module that defines its type.

    Raises:
        TNLayersError: If no known backend owns such arrays.
    """
    root = type(array).__module__.partition(".")[0]
    if root not in known():
        raise TNLayersError(
            f"No backend takes a {type(array).__module__}.{type(array).__qualname__}; pass arrays of "
            f"{' or '.join(installed())}."
        )
    return backend(root)
