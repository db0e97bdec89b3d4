"""The frameworks that train, by name."""

from __future__ import annotations

from tnlayers.backends import backend as find_backend
from tnlayers.train import loop
from tnlayers.train.trainer import Way


def way_of(backend: str) -> Way:
    """How a framework trains; jax is imported where it is asked for.

    Raises:
        TNLayersError: It is not installed, or optax is not.
    """
    if backend == "torch":
        return loop.WAY
    find_backend(backend)  # without jax this refuses and names the extra, before the import below fails
    from tnlayers.train import jax_loop

    return jax_loop.WAY
