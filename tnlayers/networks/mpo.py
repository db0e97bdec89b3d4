"""`mpo`: a matrix product operator, also called TT-matrix or BlockTT.

         out_0      out_1      out_2
           |          |          |
        core_0 ---- core_1 ---- core_2
           |   D_1    |   D_2    |
         in_0       in_1       in_2

W[j_1..j_n, i_1..i_n] = w_1[i_1, j_1] w_2[i_2, j_2] ... w_n[i_n, j_n], each w_k[i, j] a D_{k-1} x D_k matrix, D_0 = D_n
= 1 (arXiv 1904.06194, Eq. 4). Parameters: the sum over k of D_{k-1} I_k J_k D_k (Eq. 6).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import one_per_edge, site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("mpo")
def mpo(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int | tuple[int, ...] = 16) -> Graph:
    """Matrix product operator: a chain of cores, each with one input and one output mode (arXiv 1904.06194).

    Args:
        in_modes: One input mode per core.
        out_modes: One output mode per core.
        bond_dim: The bond dimension (TT-rank): one number, or one per bond from left to right.

    Returns:
        The graph with cores `core_0`, `core_1`, ... of axes (left, inp, out, right); the ends lack the outer bond.

    Raises:
        TNLayersError: If the lists differ in length, or `bond_dim` is not one size per bond.
    """
    n = site_count("mpo", in_modes, out_modes)
    bonds = one_per_edge("bond_dim", bond_dim, n - 1, f"{n} cores have {{edges}} between them")
    net = Declaration()
    cores = []
    for k in range(n):
        left = {"left": bonds[k - 1]} if k > 0 else {}
        right = {"right": bonds[k]} if k < n - 1 else {}
        cores.append(net.core(f"core_{k}", **left, inp=in_modes[k], out=out_modes[k], **right))
    for a, b in pairwise(cores):
        a["right"] ^ b["left"]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])
