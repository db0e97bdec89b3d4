r"""`mera`: a binary tree with disentanglers between neighbouring subtrees, after the multiscale renormalisation ansatz.

                   +-------- D --------+
             [isometry]           [isometry]
              /      \             /      \
             |     [  disentangler   ]     |
             |         |         |         |
         [leaf_0]  [leaf_1]  [leaf_2]  [leaf_3]
           /\        /\        /\        /\
        in_0 out_0      ...           in_3 out_3

On every level the legs 2k+1 and 2k+2, which the tree would join only further up, first pass a disentangler of D^4
entries; then an isometry of D^3 entries joins the legs 2k and 2k+1. Levels go on until two legs are left, which are
joined (Vidal, "Entanglement Renormalization", arXiv cond-mat/0512165; open boundary). Parameters: D times the sum of
I_k J_k, D^3 per isometry, D^4 per disentangler. Names only: the cores are free, neither unitary
nor isometric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("mera")
def mera(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int = 4) -> Graph:
    """MERA: a binary tree with disentanglers between neighbouring subtrees (arXiv cond-mat/0512165).

    Args:
        in_modes: One input mode per leaf.
        out_modes: One output mode per leaf.
        bond_dim: The size of every bond.

    Returns:
        The graph with cores `leaf_k`, and on level l `disentangler_l_k` and `isometry_l_k`. Two leaves are joined
        directly, a lone one has no bond.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("mera", in_modes, out_modes)
    up = {"up": bond_dim} if n > 1 else {}
    net = Declaration()
    leaves = [net.core(f"leaf_{k}", inp=in_modes[k], out=out_modes[k], **up) for k in range(n)]
    legs = [leaf["up"] for leaf in leaves] if n > 1 else []
    level = 0
    while len(legs) > 2:
        for k in range(1, len(legs) - 1, 2):
            pair = {leg: bond_dim for leg in ("left", "right", "up_left", "up_right")}
            mixer = net.core(f"disentangler_{level}_{k // 2}", **pair)
            legs[k] ^ mixer["left"]
            legs[k + 1] ^ mixer["right"]
            legs[k : k + 2] = [mixer["up_left"], mixer["up_right"]]
        joined = []
        for k in range(0, len(legs) - 1, 2):
            node = net.core(f"isometry_{level}_{k // 2}", left=bond_dim, right=bond_dim, up=bond_dim)
            legs[k] ^ node["left"]
            legs[k + 1] ^ node["right"]
            joined.append(node["up"])
        legs = joined + legs[2 * len(joined) :]
        level += 1
    if legs:
        legs[0] ^ legs[1]
    return net.linear(inputs=[c["inp"] for c in leaves], outputs=[c["out"] for c in leaves])
