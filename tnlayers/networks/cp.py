r"""`cp`: canonical polyadic decomposition, one factor per mode and one hyperedge over all of them.

        in_0   in_1   out_0   out_1
          |      |      |       |
        [in_0] [in_1] [out_0] [out_1]
            \     \      /      /
             +------ R --------+          one index, shared by every factor

W[j_1..j_n, i_1..i_m] = sum over r of prod_k A_k[i_k, r] prod_k B_k[j_k, r] (Hitchcock 1927; for convolution kernels:
Lebedev et al., arXiv 1412.6553). Parameters: R times the sum of all modes. Any weight is reached at the product of all
modes over the largest. A mode of 1 gets no factor, so that a kernel with input modes (h, w, c) and output modes
(1, 1, d) has four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import linear, named_modes, one_core_per_mode, one_per_edge

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("cp")
def cp(in_modes: tuple[int, ...], out_modes: tuple[int, ...], rank: int | tuple[int, ...] = 16) -> Graph:
    """Canonical polyadic (CP): one factor per mode, all on one hyperedge (arXiv 1412.6553).

    Args:
        in_modes: Input modes, as many as you like.
        out_modes: Output modes, as many as you like.
        rank: The size of the hyperedge: one number (a tuple of one is taken too).

    Returns:
        The graph with cores `in_0`, ..., `out_0`, ... of axes (mode, rank); modes of 1 hang on the first.

    Raises:
        TNLayersError: If `rank` gives more than one number.
    """
    (size,) = one_per_edge("rank", rank, 1, "cp has {edges} hyperedge")
    modes = named_modes(in_modes, out_modes)
    legs = one_core_per_mode(modes)
    net = Declaration()
    if len(legs) == 1:
        return linear(net, {name: net.core(name, **own) for name, own in legs.items()}, modes)
    cores = {name: net.core(name, **own, rank=size) for name, own in legs.items()}
    edge = net.copy(size, list(cores), name="rank")
    for name, core in cores.items():
        core["rank"] ^ edge[name]
    return linear(net, cores, modes)
