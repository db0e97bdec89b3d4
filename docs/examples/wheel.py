"""`wheel`: a ring of cores, each with a spoke to one hub. An example of a network type that the library does not have.

Once this file has run, as by `tnlayers describe "wheel(bond=3)" --in 784 --out 256 --load wheel.py`, it is a type like
any other.
"""

import tnlayers as tnl


@tnl.network("wheel", cores=3)
def wheel(in_modes, out_modes, bond_dim=3):
    """Wheel: a ring of cores around a hub that is joined to each of them."""
    n, net = len(in_modes), tnl.Declaration()
    hub = net.core("hub", **{f"spoke_{k}": bond_dim for k in range(n)})
    rim = [
        net.core(f"rim_{k}", spoke=bond_dim, left=bond_dim, inp=in_modes[k], out=out_modes[k], right=bond_dim)
        for k in range(n)
    ]
    for k, core in enumerate(rim):
        core["spoke"] ^ hub[f"spoke_{k}"]
        core["right"] ^ rim[(k + 1) % n]["left"]
    return net.linear(inputs=[core["inp"] for core in rim], outputs=[core["out"] for core in rim])
