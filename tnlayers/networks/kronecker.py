r"""`kronecker`: a sum of Kronecker products of small matrices.

          out_0        out_1
            |            |
         [core_0]     [core_1]
          /  |         |   \
       in_0  +--- T ---+   in_1       T: one index over all cores

W = sum over t of A_t (x) B_t (x) ...: W[j_1..j_n, i_1..i_n] = sum over t of prod_k core_k[t, i_k, j_k] (Van Loan and
Pitsianis 1993, "Approximation with Kronecker products"; as layers: Zhou and Wu, arXiv 1507.05775). Parameters: T times
the sum of I_k J_k. It is CP over pairs of modes, and with two cores an MPO of bond T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("kronecker", cores=2)
def kronecker(in_modes: tuple[int, ...], out_modes: tuple[int, ...], terms: int = 4) -> Graph:
    """Sum of Kronecker products: cores on one hyperedge, each an input and an output mode (arXiv 1507.05775).

    Args:
        in_modes: One input mode per core.
        out_modes: One output mode per core.
        terms: How many Kronecker products are added.

    Returns:
        The graph with cores `core_0`, `core_1`, ... of axes (term, inp, out); a lone core has no terms.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("kronecker", in_modes, out_modes)
    term = {"term": terms} if n > 1 else {}
    net = Declaration()
    cores = [net.core(f"core_{k}", **term, inp=in_modes[k], out=out_modes[k]) for k in range(n)]
    if n > 1:
        edge = net.copy(terms, n, name="term")
        for k, core in enumerate(cores):
            core["term"] ^ edge[k]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])
