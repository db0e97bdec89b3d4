"""What network functions share: one mode of each side per core, one core per mode, and sizes given edge by edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tnlayers.errors import TNLayersError

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


def site_count(network: str, in_modes: tuple[int, ...], out_modes: tuple[int, ...]) -> int:
    """How many sites there are, where every site has one input and one output mode.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = len(in_modes)
    if len(out_modes) != n:
        raise TNLayersError(
            f"in_modes {in_modes} has {n} modes but out_modes {out_modes} has {len(out_modes)}; {network} takes one of "
            "each per core. Fill the shorter list with 1s."
        )
    return n


def one_per_edge(keyword: str, size: int | tuple[int, ...], edges: int, where: str) -> tuple[int, ...]:
    """The size of every edge: the same number for all, or the numbers given.

    Args:
        keyword: The keyword's name, for the message.
        size: One number, or one per edge in order of declaration.
        edges: How many edges there are.
        where: What has them, as in "4 cores have {edges} between them".

    Raises:
        TNLayersError: If there is not one number per edge.
    """
    sizes = (size,) * edges if isinstance(size, int) else size
    if len(sizes) != edges:
        raise TNLayersError(
            f"{keyword} {sizes} gives {len(sizes)} bonds, but {where.format(edges=edges)}. Give one number for all, or "
            f"{edges}."
        )
    return sizes


def named_modes(in_modes: tuple[int, ...], out_modes: tuple[int, ...]) -> dict[str, int]:
    """All modes under the names `in_0`, `in_1`, ..., `out_0`, ..."""
    return {f"in_{k}": n for k, n in enumerate(in_modes)} | {f"out_{k}": n for k, n in enumerate(out_modes)}


def one_core_per_mode(modes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The open legs of one core per mode; a mode of 1 has no feature, gets no core, and hangs on the first."""
    large = [name for name, size in modes.items() if size > 1] or [next(iter(modes))]
    legs = {name: {name: modes[name]} for name in large}
    legs[large[0]] |= {name: size for name, size in modes.items() if name not in legs}
    return legs


def linear(net: Any, cores: Mapping[str, Any], modes: Mapping[str, int]) -> Graph:
    """Close a declaration whose open legs have the names of `named_modes`, each on one of the cores."""
    legs = {name: core[name] for core in cores.values() for name in modes if name in core.axis_names}
    return net.linear(  # type: ignore[no-any-return]
        inputs=[legs[name] for name in modes if name.startswith("in_")],
        outputs=[legs[name] for name in modes if name.startswith("out_")],
    )
