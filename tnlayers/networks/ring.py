"""`ring`: a tensor ring, an MPO whose ends are joined by one more bond.

           out_0      out_1      out_2
             |          |          |
      +--- core_0 ---- core_1 ---- core_2 ---+
      |      |   D_1    |   D_2    |         |
      |    in_0       in_1       in_2        |
      +----------------- D_0 ----------------+

W[j_1..j_n, i_1..i_n] = trace of w_1[i_1, j_1] w_2[i_2, j_2] ... w_n[i_n, j_n], each w_k[i, j] a D_{k-1} x D_k matrix,
D_n = D_0 (Zhao et al., "Tensor Ring Decomposition", arXiv 1606.05535; for layers: Wang et al., arXiv 1802.09052).
Parameters: the sum over k of D_{k-1} I_k J_k D_k. With D_0 = 1 it is an MPO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import one_per_edge, site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("ring")
def ring(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int | tuple[int, ...] = 8) -> Graph:
    """Tensor ring: an MPO whose last core is joined to its first (arXiv 1606.05535).

    Args:
        in_modes: One input mode per core.
        out_modes: One output mode per core.
        bond_dim: One number, or one per bond: that which closes the ring first, then from left to right.

    Returns:
        The graph with cores `core_0`, `core_1`, ... of axes (left, inp, out, right); a lone core has no bond.

    Raises:
        TNLayersError: If the lists differ in length, or `bond_dim` is not one size per bond.
    """
    n = site_count("ring", in_modes, out_modes)
    net = Declaration()
    if n == 1:
        core = net.core("core_0", inp=in_modes[0], out=out_modes[0])
        return net.linear(inputs=[core["inp"]], outputs=[core["out"]])
    bonds = one_per_edge("bond_dim", bond_dim, n, f"{n} cores in a ring have {{edges}}")
    cores = [
        net.core(f"core_{k}", left=bonds[k], inp=in_modes[k], out=out_modes[k], right=bonds[(k + 1) % n])
        for k in range(n)
    ]
    for k, core in enumerate(cores):
        core["right"] ^ cores[(k + 1) % n]["left"]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])
