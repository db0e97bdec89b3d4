r"""`tree`: a binary tree, also called hierarchical Tucker; one leaf per site, one node per pair of subtrees.

                     D
             [node]-----[node]             the two halves meet on one bond: the matrix that hierarchical
             D /  \ D    D /  \ D           Tucker has at its root would add nothing
        [leaf_0][leaf_1][leaf_2][leaf_3]
           /\      /\      /\      /\
        in_0 out_0   ...          in_3 out_3

A node is a D x D x D tensor that maps the bonds of its two subtrees to the bond above (Hackbusch and Kuehn 2009, "A new
scheme for the tensor representation"; Grasedyck 2010, "Hierarchical singular value decomposition of tensors").
Parameters: D times the sum of I_k J_k, and D^3 for each of n - 2 nodes. Any two sites are 2 log2(n) bonds apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("tree")
def tree(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int = 8) -> Graph:
    """Binary tree (hierarchical Tucker): leaves with the modes, nodes that join two subtrees (Grasedyck 2010).

    Args:
        in_modes: One input mode per leaf.
        out_modes: One output mode per leaf.
        bond_dim: The size of every bond.

    Returns:
        The graph with cores `leaf_0`, ... of axes (inp, out, up), and `node_i_j` of axes (left, right, up) over sites i
        to j; a lone leaf has no bond.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("tree", in_modes, out_modes)
    up = {"up": bond_dim} if n > 1 else {}
    net = Declaration()
    leaves = [net.core(f"leaf_{k}", inp=in_modes[k], out=out_modes[k], **up) for k in range(n)]

    def top(first: int, last: int) -> Any:
        """The upward leg of the subtree over these sites."""
        if first == last:
            return leaves[first]["up"]
        half = (first + last) // 2
        left, right = top(first, half), top(half + 1, last)
        node = net.core(f"node_{first}_{last}", left=bond_dim, right=bond_dim, up=bond_dim)
        left ^ node["left"]
        right ^ node["right"]
        return node["up"]

    if n > 1:
        half = (n - 1) // 2
        top(0, half) ^ top(half + 1, n - 1)
    return net.linear(inputs=[c["inp"] for c in leaves], outputs=[c["out"] for c in leaves])
