"""The torch backend: layers are `nn.Module`s whose parameters are the cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tnlayers.errors import TNLayersError
from tnlayers_backends.base import Backend, Clock
from tnlayers_backends.torch.layers.linear import from_spec
from tnlayers_backends.torch.layers.vjp import vjp
from tnlayers_backends.torch.measure import timing
from tnlayers_backends.torch.modules.peft_targets import guard_all_linear
from tnlayers_backends.torch.modules.storage import STORAGE
from tnlayers_backends.torch.run.primitives import OPS


def _describe(module: Any) -> tuple[Any, Mapping[str, Any]]:
    """As `described.describe`, loaded when it is first asked for."""
    from tnlayers_backends.torch.modules.described import describe

    return describe(module)


def _make(form: Any, arrays: Mapping[str, Any]) -> Any:
    """Models come back as torch modules from their own files alone."""
    raise TNLayersError(
        f"A module of kind {form.kind!r} on another backend does not become a torch module: torch has classes of its "
        "own. Load the file that the torch module was saved to (tnl.load(path)), or move its layers one by one."
    )


BACKEND = Backend(
    name="torch",
    arrays=("torch",),
    dtypes=("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    ops=OPS,
    build=from_spec,
    storage=replace(STORAGE, describe=_describe, make=_make),
    vjp=vjp,
    clock=Clock(threads=lambda: timing.threads(), seconds=lambda plans: timing.seconds(plans)),
    timed=timing.timed,
)

__all__ = ["BACKEND"]

guard_all_linear()
