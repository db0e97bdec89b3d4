"""A network of a user's own, for the claim that no network type has a planner of its own.

`chord` is a ring with one more bond across it, which no built-in type has:

      |     |     |     |
    --o-----o-----o-----o--      the outer bonds close the ring,
      |     +-----|-----+          the chord joins the second core and the last
"""

from __future__ import annotations

from itertools import pairwise

from tnlayers.declare.declaration import Declaration
from tnlayers.declare.graph import Graph
from tnlayers.declare.registry import network


def chord(in_modes: tuple[int, ...], out_modes: tuple[int, ...], bond_dim: int) -> Graph:
    """Declare the network; it wants four cores or more."""
    net = Declaration()
    last = len(in_modes) - 1
    cores = []
    for k, (i, o) in enumerate(zip(in_modes, out_modes, strict=True)):
        across = {"across": 2} if k in (1, last) else {}
        cores.append(net.core(f"core_{k}", left=bond_dim, inp=i, out=o, right=bond_dim, **across))
    for a, b in pairwise([*cores, cores[0]]):
        a["right"] ^ b["left"]
    cores[1]["across"] ^ cores[last]["across"]
    return net.linear(inputs=[core["inp"] for core in cores], outputs=[core["out"] for core in cores])


def declare() -> None:
    """Make `chord(bond=...)` a network type, as a user would; doing it again changes nothing."""
    network("chord")(chord)
