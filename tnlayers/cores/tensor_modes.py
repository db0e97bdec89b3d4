"""The framework-free half of a map between tensors: its axes as modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tnlayers.declare.spec import Spec


def tensor_modes(
    network: str | Spec, in_shape: Sequence[int], out_shape: Sequence[int], asked: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """The axes as "in_modes" and "out_modes", the shorter list filled up with ones; nothing where modes are asked for.

    Args:
        network: A network type, a template, or a sized spec.
        in_shape: Sizes of the input's axes.
        out_shape: Sizes of the output's axes.
        asked: Keywords beside; "cores" says that sizes are split anew.

    Example:
        >>> tensor_modes("mpo", (8, 7, 7), (4, 5), {})
        {'in_modes': (8, 7, 7), 'out_modes': (4, 5, 1)}
    """
    given = {key for key, value in asked.items() if value is not None}
    free = isinstance(network, str) and "in=" not in network and "cores=" not in network
    if not free or {"cores", "in_modes", "out_modes"} & given:
        return {}
    order = max(len(in_shape), len(out_shape), 1)
    filled = [(*sizes, *(1,) * (order - len(sizes))) for sizes in (in_shape, out_shape)]
    return {"in_modes": filled[0], "out_modes": filled[1]}
