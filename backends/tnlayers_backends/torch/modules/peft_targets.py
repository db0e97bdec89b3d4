"""PEFT's `target_modules="all-linear"` on a model with networks is refused: it would pass by them without a word.

PEFT finds linear layers by torch's class, which networks are not. It has no place to register others for this word, so
its function is wrapped: at once where PEFT is loaded already, else when it is. `tnlayers.hf.lora` takes the word right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import nn

from tnlayers.errors import TNLayersError

_MODULE, _FUNCTION, _WORD = "peft.tuners.tuners_utils", "_maybe_include_all_linear_layers", "all-linear"


def guard_all_linear() -> None:
    """Wrap the function, now or when PEFT is loaded; once is enough."""
    if _MODULE in sys.modules:
        _wrap(sys.modules[_MODULE])
    elif not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _wrap(module: ModuleType) -> None:
    own = getattr(module, _FUNCTION, None)  # versions that do not have it decide otherwise
    if own is None or hasattr(own, "guarded"):
        return

    @wraps(own)
    def guarded(config: Any, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        _check(config, model)
        return own(config, model, *args, **kwargs)

    guarded.guarded = True  # type: ignore[attr-defined]
    for name, one in list(sys.modules.items()):  # methods of PEFT that were loaded before have it by name
        if name.startswith("peft.") and getattr(one, _FUNCTION, None) is own:
            setattr(one, _FUNCTION, guarded)


def _check(config: Any, model: nn.Module) -> None:
    from tnlayers_backends.torch.layers.linear import TNLinear

    asked = getattr(config, "target_modules", None)
    if not isinstance(asked, str) or asked.lower() != _WORD:
        return
    passed = [name for name, module in model.named_modules() if isinstance(module, TNLinear)]
    if passed:
        raise TNLayersError(
            f"target_modules='all-linear' of PEFT would pass by the {len(passed)} linear layers that are networks of "
            f"tnlayers ({', '.join(passed[:3])}{', ...' if len(passed) > 3 else ''}). Call "
            "tnlayers.hf.lora.get_peft_model(model, config), which takes them too, or list the names of the layers."
        )


class _Finder(MetaPathFinder):
    """Sees PEFT's module when it is loaded, and goes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """A module's own loader, after which the function is wrapped."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        _wrap(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)
