"""What a backend is: a few primitives on its arrays, and a way to build a layer that lives in its framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tnlayers.program import Primitives
from tnlayers.spec import Spec


class BuildLayer(Protocol):
    """Builds a layer from a sized spec."""

    def __call__(self, spec: Spec, *, seed: int | None, dtype: str, **options: Any) -> Any:
        """Build it; `seed=None` takes the framework's own generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One numerical framework.

    Attributes:
        name: The framework's import name, which is also the root module of its array type.
        ops: The primitives that programs run on.
        build: Builds a layer.
    """

    name: str
    ops: Primitives
    build: BuildLayer
