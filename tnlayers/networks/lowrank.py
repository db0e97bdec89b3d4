"""`lowrank`: the product of a tall and a wide matrix.

        in ---- down ---- R ---- up ---- out

W = U V, with V of R x in and U of out x R. Parameters: R (in + out). Any weight is reached at R = min(in, out)
(Eckart and Young 1936; as a trained layer: Sainath et al. 2013, "Low-rank matrix factorization for deep neural network
training with high-dimensional output targets"). Further modes of a side are further legs of its one core.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import linear, named_modes

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("lowrank", cores=1)
def lowrank(in_modes: tuple[int, ...], out_modes: tuple[int, ...], rank: int = 16) -> Graph:
    """Low rank: the product of two matrices (Eckart and Young 1936).

    Args:
        in_modes: Input modes; their product is all that matters.
        out_modes: Output modes, likewise.
        rank: The rank of the weight.

    Returns:
        The graph with cores `down` of axes (*in, rank) and `up` of axes (rank, *out); one core where a side is 1.
    """
    modes = named_modes(in_modes, out_modes)
    ins = {name: size for name, size in modes.items() if name.startswith("in_")}
    outs = {name: size for name, size in modes.items() if name.startswith("out_")}
    net = Declaration()
    if 1 in (prod(in_modes), prod(out_modes)):  # a vector: a second factor would be a number
        return linear(net, {"down": net.core("down", **modes)}, modes)
    cores = {"down": net.core("down", **ins, rank=rank), "up": net.core("up", rank=rank, **outs)}
    cores["down"]["rank"] ^ cores["up"]["rank"]
    return linear(net, cores, modes)
