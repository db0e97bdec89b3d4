"""`to_backend`: the same layer or model on another backend."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tnlayers.backends import backend as get_backend
from tnlayers.backends import backend_holding
from tnlayers.errors import TNLayersError


def to_backend(layer: Any, backend: str) -> Any:
    """A layer of another backend with the same cores, bit for bit: names, shapes, dtype, bias and pinned plan stay.

    The given layer stays as it is, and shares no memory with the new one. What a framework keeps beside (devices,
    gradients, hooks on a single layer) stays behind. A torch module of several weights, or a whole model, becomes a
    callable on numpy and a pytree on jax, which run it as it evaluates: its forward pass is traced (`torch.fx`), and
    what has no form there is refused by name, as are forward hooks inside and values read after a change in place.

    Args:
        layer: A layer or a module of any backend.
        backend: Where it shall live: "numpy", "torch", "jax" or any other that is installed.

    Raises:
        TNLayersError: If it is neither, the backend is not installed, or the backend lacks something in it or its dtype
            (bfloat16 on numpy; float64 on jax without its 64-bit mode).

    Example:
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="torch", seed=0)
        >>> to_backend(layer, "numpy")
        NumpyLinear('mpo(in=4x7, out=2x5, bond=3)')
        >>> to_backend(tnl.models.build("lenet5", seed=0), "numpy")
        NumpyModule('steps', 19 arrays of 5,646 entries)
    """
    home, there = backend_holding(layer), get_backend(backend)
    source, target = home.storage, there.storage
    cores = getattr(layer, "cores", None)

    def moved(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: target.from_bytes(
                source.to_bytes(array), str(array.dtype).removeprefix("torch."), tuple(map(int, array.shape))
            )
            for name, array in arrays.items()
        }

    if isinstance(cores, dict) and cores:  # one layer
        parts = source.take_apart(layer)
        return target.put_together(parts._replace(arrays=moved(parts.arrays)))
    if home is there:
        return deepcopy(layer)
    if source.describe is None or target.make is None:
        raise TNLayersError(
            f"A {type(layer).__qualname__} is more than one layer, and {backend} has single layers alone. Move its "
            "layers one by one."
        )
    form, arrays = source.describe(layer)
    return target.make(form, moved(arrays))
