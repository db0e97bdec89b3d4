r"""`block_term`: a sum of Tucker networks, one factor per site.

        in_0 out_0     in_1 out_1
           \ /           \ /
        [factor_0]     [factor_1]
              \ D        / D
               +-[core]-+               and T, one index over the core and all factors

W[j_1..j_n, i_1..i_n] = sum over t and d of core[t, d_1..d_n] prod_k factor_k[t, i_k, j_k, d_k] (De Lathauwer 2008,
"Decompositions of a higher-order tensor in block terms"; as layers: Ye et al., arXiv 1712.05134). Parameters: T times
(D^n + D times the sum of I_k J_k).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("block_term", cores=3)
def block_term(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int = 4, terms: int = 2) -> Graph:
    """Block-term: a sum of Tucker networks, each with one factor per site (arXiv 1712.05134).

    Args:
        in_modes: One input mode per site.
        out_modes: One output mode per site.
        bond_dim: The bond between every factor and the core.
        terms: How many Tucker networks are added.

    Returns:
        The graph with `core` of axes (term, down_0, down_1, ...) and `factor_0`, ... of axes (term, inp, out, up); a
        lone site is one factor without bonds.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("block_term", in_modes, out_modes)
    net = Declaration()
    if n == 1:
        factor = net.core("factor_0", inp=in_modes[0], out=out_modes[0])
        return net.linear(inputs=[factor["inp"]], outputs=[factor["out"]])
    core = net.core("core", term=terms, **{f"down_{k}": bond_dim for k in range(n)})
    factors = [net.core(f"factor_{k}", term=terms, inp=in_modes[k], out=out_modes[k], up=bond_dim) for k in range(n)]
    edge = net.copy(terms, n + 1, name="term")
    core["term"] ^ edge[n]
    for k, factor in enumerate(factors):
        factor["term"] ^ edge[k]
        factor["up"] ^ core[f"down_{k}"]
    return net.linear(inputs=[c["inp"] for c in factors], outputs=[c["out"] for c in factors])
