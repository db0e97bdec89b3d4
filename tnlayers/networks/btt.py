"""`btt`: a block tensor train, an MPO whose cores differ for every block of the modes around them.

        in_0 ------+-----------+          Two cores: core_1 reads in_1 and writes out_1, for every in_0;
                   |           |          core_0 then reads in_0 and writes out_0, for every out_1.
        out_0 -[core_0]- R -[core_1]- in_1
                   |           |
        out_1 -----+-----------+          in_0 and out_1 are copy nodes: hyperedges that end in an open leg

W[j_1..j_n, i_1..i_n] = sum over d of prod_k core_k[i_1..i_k, j_k..j_n, d_{k-1}, d_k] (Qiu et al., "Compute Better
Spent", arXiv 2406.06248; for two cores y[a, b] = sum over c, s of L[a, b, c, s] sum over d of R[b, c, s, d] x[c, d]).
Parameters: the sum over k of R_{k-1} R_k I_1..I_k J_k..J_n. With two cores and rank 1 it is `monarch`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("btt", cores=2)
def btt(in_modes: tuple[int, ...], out_modes: tuple[int, ...], rank: int = 1) -> Graph:
    """Block tensor train: an MPO whose cores also have the modes not yet read or already written (arXiv 2406.06248).

    Args:
        in_modes: One input mode per core.
        out_modes: One output mode per core.
        rank: The size of the bond between neighbouring cores.

    Returns:
        The graph with cores `core_k` of axes (left, in_0 .. in_k, out_k .. out_last, right); the ends lack the outer
        bond.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("btt", in_modes, out_modes)
    net = Declaration()
    cores = []
    for k in range(n):
        left = {"left": rank} if k > 0 else {}
        right = {"right": rank} if k < n - 1 else {}
        ins = {f"in_{m}": in_modes[m] for m in range(k + 1)}
        outs = {f"out_{m}": out_modes[m] for m in range(k, n)}
        cores.append(net.core(f"core_{k}", **left, **ins, **outs, **right))
    for a, b in pairwise(cores):
        a["right"] ^ b["left"]

    def open_leg(name: str, size: int, on: list[Any]) -> Any:
        """The open leg of a mode that these cores share."""
        if len(on) == 1:
            return on[0][name]
        edge = net.copy(size, ["mode", *(core.name for core in on)], name=name)
        for core in on:
            core[name] ^ edge[core.name]
        return edge["mode"]

    return net.linear(
        inputs=[open_leg(f"in_{k}", in_modes[k], cores[k:]) for k in range(n)],
        outputs=[open_leg(f"out_{k}", out_modes[k], cores[: k + 1]) for k in range(n)],
    )
