"""`to_backend`: the same layer on another backend."""

from __future__ import annotations

from typing import Any

from tnlayers.backends import backend as get_backend
from tnlayers.backends import backend_of
from tnlayers.errors import TNLayersError


def to_backend(layer: Any, backend: str) -> Any:
    """A layer of another backend with the same cores, bit for bit: names, shapes, dtype, bias and pinned plan stay.

    The given layer stays as it is, and shares no memory with the new one. What a framework keeps beside (devices,
    hooks, gradients) stays behind.

    Args:
        layer: A layer of any backend.
        backend: Where it shall live: "numpy", "torch", "jax" or any other that is installed.

    Raises:
        TNLayersError: If it is no layer, the backend is not installed, or the backend lacks this kind of layer or its
            dtype (bfloat16 on numpy; float64 on jax without its 64-bit mode).

    Example:
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="torch", seed=0)
        >>> to_backend(layer, "numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
    """
    cores = getattr(layer, "cores", None)
    if not isinstance(cores, dict) or not cores:
        raise TNLayersError(
            f"to_backend takes a layer, such as tnl.build or tnl.nn make; got a {type(layer).__module__}."
            f"{type(layer).__qualname__}. Move the layers of a model one by one."
        )
    source, target = backend_of(next(iter(cores.values()))).storage, get_backend(backend).storage
    parts = source.take_apart(layer)
    arrays = {
        name: target.from_bytes(
            source.to_bytes(array), str(array.dtype).removeprefix("torch."), tuple(map(int, array.shape))
        )
        for name, array in parts.arrays.items()
    }
    return target.put_together(parts._replace(arrays=arrays))
