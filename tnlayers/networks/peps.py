"""`peps`: a grid of cores, each with an input and an output mode, joined to its neighbours on both axes.

        [core_0]--[core_1]--[core_2]
            |         |         |           every core also has its in and out mode
        [core_3]--[core_4]--[core_5]

W is the sum over all bonds of the product of the cores (Verstraete and Cirac, "Renormalization algorithms for
quantum-many body systems in two and higher dimensions", arXiv cond-mat/0407066). The grid is the most square one: as
many columns as the root of the number of cores, rounded up, and a last row that may be shorter. Parameters: for each
core I_k J_k D^b, b its number of neighbours (2 to 4 in a full grid). Contracting a wide grid is expensive, whatever the
order; the planner says how much.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.registry import network
from tnlayers.networks.legs import site_count

if TYPE_CHECKING:
    from tnlayers.declare.graph import Graph


@network("peps")
def peps(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int = 4) -> Graph:
    """Projected entangled pair operator: cores on a grid, joined to their neighbours (arXiv cond-mat/0407066).

    Args:
        in_modes: One input mode per core, row by row.
        out_modes: One output mode per core, row by row.
        bond_dim: The size of every bond.

    Returns:
        The graph with cores `core_0`, ... of axes (up, left, inp, out, right, down), less those at the border.

    Raises:
        TNLayersError: If the lists differ in length.
    """
    n = site_count("peps", in_modes, out_modes)
    columns = isqrt(n - 1) + 1  # the root of n, rounded up
    net = Declaration()
    cores = []
    for k in range(n):
        before = {"up": k >= columns, "left": k % columns > 0}
        after = {"right": (k + 1) % columns > 0 and k + 1 < n, "down": k + columns < n}
        first, last = ({leg: bond_dim for leg, there in side.items() if there} for side in (before, after))
        cores.append(net.core(f"core_{k}", **first, inp=in_modes[k], out=out_modes[k], **last))
        if "left" in first:
            cores[k - 1]["right"] ^ cores[k]["left"]
        if "up" in first:
            cores[k - columns]["down"] ^ cores[k]["up"]
    return net.linear(inputs=[c["inp"] for c in cores], outputs=[c["out"] for c in cores])
