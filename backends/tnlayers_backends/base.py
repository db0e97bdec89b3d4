"""What a backend is: a few primitives on its arrays, and a way to build a layer that lives in its framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tnlayers.program import Primitives


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One numerical framework.

    Attributes:
        name: The framework's import name, which is also the root module of its array type.
        ops: The primitives that programs run on.
        build: Builds a layer: `build(spec, seed=0, dtype="float32")`, and further keywords of its own. The same seed
            draws the same cores on every backend; None takes the framework's own generator.
    """

    name: str
    ops: Primitives
    build: Callable[..., Any]
