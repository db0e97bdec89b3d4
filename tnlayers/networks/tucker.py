"""`tucker`: a core, and one factor for every mode that is larger than its bond.

        in_0 --[in_0]--+      +--[out_0]-- out_0
                      D_1    D_3
                        [core]                      a mode that its bond does not cut stays on the core:
                      D_2    |
        in_1 --[in_1]--+     +------------ out_1    here out_1 <= bond

W[j.., i..] = sum over d of core[d_1, d_2, ...] prod_k A_k[i_k, d_k] prod_k B_k[j_k, d_k] (Tucker 1966). Parameters: the
product of the core's legs, and D_k times the mode for each factor.

A factor as wide as its mode is a square matrix: it adds parameters and no weight. Without those, a kernel of input
modes (3, 3, c) and output modes (1, 1, d) with bond 3 or more is Tucker-2 (Kim et al., arXiv 1511.06530): factors on
the channels, and a core of 3 x 3 x bond x bond. Modes of 1 get no factor either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import linear, named_modes, one_per_edge

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("tucker", cores=2)
def tucker(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int | tuple[int, ...] = 8) -> Graph:
    """Tucker: a core with one factor per mode that is larger than its bond (arXiv 1511.06530).

    Args:
        in_modes: Input modes, as many as you like.
        out_modes: Output modes, as many as you like.
        bond_dim: One number, or one per mode larger than 1, input modes first. A bond that is not smaller than its mode
            leaves the mode on the core.

    Returns:
        The graph with `core`, whose axes are the modes in order, and factors `in_0`, ..., `out_0`, ... of axes
        (mode, bond).

    Raises:
        TNLayersError: If `bond_dim` is not one size per mode larger than 1.
    """
    modes = named_modes(in_modes, out_modes)
    large = [name for name, size in modes.items() if size > 1]
    bonds = dict(
        zip(large, one_per_edge("bond_dim", bond_dim, len(large), "{edges} modes are larger than 1"), strict=True)
    )
    cut = [name for name in large if bonds[name] < modes[name]] if len(large) > 1 else []
    factors = {name: {name: modes[name]} for name in cut}
    # Modes of 1 have no feature: they go where a feature is, to the core or else to the first factor.
    ones = {name: 1 for name, size in modes.items() if size == 1}
    on_core = {name: modes[name] for name in large if name not in cut}
    (on_core if on_core or not cut else factors[cut[0]]).update(ones)
    legs = {
        name if name in on_core else f"bond_{name}": on_core.get(name) or bonds[name]
        for name in modes
        if name in on_core or name in cut
    }
    net = Declaration()
    cores = {"core": net.core("core", **legs)}
    for name, own in factors.items():
        cores[name] = net.core(name, **own, bond=bonds[name])
        cores["core"][f"bond_{name}"] ^ cores[name]["bond"]
    return linear(net, cores, modes)
