"""`tnl.build`: a layer from its declaration, on the backend of that name."""

from __future__ import annotations

from typing import Any

from tnlayers.backends import backend as get_backend
from tnlayers.backends import first_installed
from tnlayers.declare.arguments import checks_arguments
from tnlayers.declare.spec import Spec
from tnlayers.declare.spec import spec as make_spec


@checks_arguments()
def build(
    spec: str | Spec, backend: str | None = None, *, seed: int | None = 0, dtype: str = "float32", **options: Any
) -> Any:
    """Build a layer on a backend.

    Args:
        spec: A sized spec or its string.
        backend: "torch" gives an `nn.Module`, "jax" a pytree, "numpy" a plain callable; None takes the first of these
            three that is installed.
        seed: Draws the cores; the same seed gives the same cores on every backend. None takes the framework's own
            generator.
        dtype: Name of the cores' dtype.
        **options: Whatever the backend's own layers take, such as `device` for torch.

    Returns:
        A callable layer, `(..., in_features) -> (..., out_features)`, that holds its cores.

    Raises:
        TNLayersError: If the spec has no sizes, or the backend is unknown or not installed.

    Example:
        >>> import numpy as np
        >>> import tnlayers as tnl
        >>> layer = tnl.build("mpo(in=4x7, out=2x5, bond=3)", backend="numpy", seed=0)
        >>> layer(np.ones((8, 28), np.float32)).shape
        (8, 10)
    """
    made = make_spec(spec)
    made.graphs  # noqa: B018  refuses a template here, before a framework is loaded
    return get_backend(first_installed() if backend is None else backend).build(made, seed=seed, dtype=dtype, **options)
