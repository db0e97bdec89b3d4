"""Modules for those who write jax: `tnl.jax.nnx` for Flax NNX, `tnl.jax.eqx` for Equinox.

For Flax linen and plain functions, `tnl.build(spec, backend="jax")` gives a pytree with `init` and `apply`.
"""

from __future__ import annotations

from types import ModuleType

__all__ = ["eqx", "nnx"]


def __getattr__(name: str) -> ModuleType:
    if name == "nnx":
        import tnlayers.jax.nnx as nnx

        return nnx
    if name == "eqx":
        import tnlayers.jax.eqx as eqx

        return eqx
    raise AttributeError(f"module 'tnlayers.jax' has no attribute {name!r}; it has {', '.join(__all__)}")
