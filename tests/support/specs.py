"""The market: one list of small specs of every network type, built-in or declared here, crossed with backends by tests.

A new network type gets every check by one row.
"""

from itertools import pairwise

import numpy as np
import tensornetwork as tn

import tnlayers as tnl


@tnl.network("hand_mpo")
def hand_mpo(in_modes, out_modes, bond_dim=3):
    """An MPO written with plain TensorNetwork nodes."""
    n = len(in_modes)
    nodes = []
    for k in range(n):
        shape = ([bond_dim] if k else []) + [in_modes[k], out_modes[k]] + ([bond_dim] if k < n - 1 else [])
        names = (["left"] if k else []) + ["inp", "out"] + (["right"] if k < n - 1 else [])
        nodes.append(tn.Node(np.zeros(shape, np.float32), name=f"site_{k}", axis_names=names))
    for a, b in pairwise(nodes):
        a["right"] ^ b["left"]
    return tnl.Declaration().linear(inputs=[c["inp"] for c in nodes], outputs=[c["out"] for c in nodes])


@tnl.network("ladder", cores=3)
def ladder(in_modes, out_modes, bond_dim=3):
    """Two rails: input cores on one, output cores on the other, a rung at each site."""
    net, n = tnl.Declaration(), len(in_modes)

    def rail(name, modes, leg):
        found = []
        for k, size in enumerate(modes):
            left = {"left": bond_dim} if k else {}
            right = {"right": bond_dim} if k < n - 1 else {}
            found.append(net.core(f"{name}_{k}", **left, **{leg: size}, rung=bond_dim, **right))
        for a, b in pairwise(found):
            a["right"] ^ b["left"]
        return found

    lower, upper = rail("lower", in_modes, "inp"), rail("upper", out_modes, "out")
    for a, b in zip(lower, upper, strict=True):
        a["rung"] ^ b["rung"]
    return net.linear(inputs=[c["inp"] for c in lower], outputs=[c["out"] for c in upper])


@tnl.network("star")
def star(in_modes, out_modes, bond_dim=3):
    """A tree: one leaf per site, all joined to an internal core that has no mode of its own."""
    net = tnl.Declaration()
    leaves = [
        net.core(f"leaf_{k}", inp=i, out=o, up=bond_dim)
        for k, (i, o) in enumerate(zip(in_modes, out_modes, strict=True))
    ]
    top = net.core("top", **{f"down_{k}": bond_dim for k in range(len(leaves))})
    for k, leaf in enumerate(leaves):
        leaf["up"] ^ top[f"down_{k}"]
    return net.linear(inputs=[c["inp"] for c in leaves], outputs=[c["out"] for c in leaves])


@tnl.network("cp_by_hand")
def cp_by_hand(in_modes, out_modes, rank=4):
    """One factor per mode, all on one hyperedge."""
    net = tnl.Declaration()
    ins = [net.core(f"in_{k}", inp=size, rank=rank) for k, size in enumerate(in_modes)]
    outs = [net.core(f"out_{k}", out=size, rank=rank) for k, size in enumerate(out_modes)]
    edge = net.copy(rank, legs=len(ins) + len(outs))
    for k, core in enumerate([*ins, *outs]):
        core["rank"] ^ edge[str(k)]
    return net.linear(inputs=[c["inp"] for c in ins], outputs=[c["out"] for c in outs])


@tnl.network("blocks")
def blocks(in_modes, out_modes):
    """Block-diagonal: the block index is input and output at once, on one copy node."""
    net = tnl.Declaration()
    core = net.core("core", block=in_modes[0], inp=in_modes[1], out=out_modes[1])
    block = net.copy(in_modes[0], ["inp", "out", "core"], name="block")
    block["core"] ^ core["block"]
    return net.linear(inputs=[block["inp"], core["inp"]], outputs=[block["out"], core["out"]])


@tnl.network("diagonal")
def diagonal(in_modes, out_modes):
    """A diagonal matrix."""
    net = tnl.Declaration()
    core = net.core("scale", d=in_modes[0])
    edge = net.copy(in_modes[0], ["inp", "out", "core"])
    edge["core"] ^ core["d"]
    return net.linear(inputs=[edge["inp"]], outputs=[edge["out"]])


@tnl.network("monarch_by_hand")
def monarch_by_hand(in_modes, out_modes):
    """Two block-diagonal matrices with a transposition between: both hyperedges end in an open leg."""
    net = tnl.Declaration()
    k, i = in_modes
    m, o = out_modes
    first = net.core("first", k=k, i=i, m=m)
    second = net.core("second", m=m, k=k, o=o)
    ks, ms = net.copy(k, ["inp", "a", "b"], name="ks"), net.copy(m, ["out", "a", "b"], name="ms")
    for edge, leg in ((ks, "k"), (ms, "m")):
        edge["a"] ^ first[leg]
        edge["b"] ^ second[leg]
    return net.linear(inputs=[ks["inp"], first["i"]], outputs=[ms["out"], second["o"]])


@tnl.network("triangle")
def triangle(in_modes, out_modes, bond_dim=2):
    """Three cores in a loop: one reads, one writes, one does both."""
    net = tnl.Declaration()
    a = net.core("a", i=in_modes[0], ab=bond_dim, ca=bond_dim)
    b = net.core("b", ab=bond_dim, o=out_modes[0], bc=bond_dim)
    c = net.core("c", bc=bond_dim, i=in_modes[1], o=out_modes[1], ca=bond_dim)
    a["ab"] ^ b["ab"]
    b["bc"] ^ c["bc"]
    c["ca"] ^ a["ca"]
    return net.linear(inputs=[a["i"], c["i"]], outputs=[b["o"], c["o"]])


@tnl.network("three_open")
def three_open(in_modes, out_modes, bond_dim=3):
    """One core has two inputs and an output; the modes come in another order than the axes, and reversed."""
    net = tnl.Declaration()
    a = net.core("a", right=bond_dim, p=in_modes[2], o=out_modes[1], q=in_modes[0])
    b = net.core("b", o=out_modes[0], left=bond_dim, i=in_modes[1])
    b["left"] ^ a["right"]
    return net.linear(inputs=[a["q"], b["i"], a["p"]], outputs=[b["o"], a["o"]])


@tnl.network("traced")
def traced(in_modes, out_modes, bond_dim=3):
    """A core with two legs joined to each other, and a vector that only scales."""
    net = tnl.Declaration()
    a = net.core("a", l=2, i=in_modes[0], o=out_modes[0], r=2, right=bond_dim)
    b = net.core("b", left=bond_dim)
    a["l"] ^ a["r"]
    a["right"] ^ b["left"]
    return net.linear(inputs=[a["i"]], outputs=[a["o"]])


@tnl.network("repeated")
def repeated(in_modes, out_modes):
    """A copy node with two legs on one core: only the core's diagonal matters."""
    net = tnl.Declaration()
    a = net.core("a", i=in_modes[0], j=in_modes[0], o=out_modes[0])
    edge = net.copy(in_modes[0], ["inp", "i", "j"])
    edge["i"] ^ a["i"]
    edge["j"] ^ a["j"]
    return net.linear(inputs=[edge["inp"]], outputs=[a["o"]])


@tnl.network("low_rank")
def low_rank(in_modes, out_modes, rank=3):
    """Two matrices; the first is split by a hyperedge of two copy nodes joined to each other."""
    net = tnl.Declaration()
    a = net.core("a", i=in_modes[0], r=rank)
    s = net.core("s", r=rank)
    b = net.core("b", r=rank, o=out_modes[0])
    one, two = net.copy(rank, 3), net.copy(rank, 2)
    one["0"] ^ a["r"]
    one["1"] ^ s["r"]
    one["2"] ^ two["0"]
    two["1"] ^ b["r"]
    return net.linear(inputs=[a["i"]], outputs=[b["o"]])


MARKET = {
    "mpo-1": "mpo(in=7, out=5)",
    "mpo-2": "mpo(in=3x4, out=2x5, bond=3)",
    "mpo-2-full": "mpo(in=2x9, out=3x1, bond=6)",
    "mpo-3": "mpo(in=2x3x4, out=3x2x2, bond=3-5)",
    "mpo-4": "mpo(in=2x3x3x2, out=2x2x2x2, bond=4)",
    "mpo-ones": "mpo(in=2x3x2x2, out=1x5x2x1, bond=2)",
    "mpo-bond-1": "mpo(in=3x2x2, out=2x1x4, bond=1)",
    "mpo-8": "mpo(in=2x1x2x1x2x1x2x1, out=1x2x1x2x1x2x1x2, bond=2)",
    "mpo-odd": "mpo(in=3x5x7, out=5x1x3, bond=3)",
    "mpo-padded": "mpo(in=4x5x5, out=2x3x2, pad_in=3, pad_out=1, bond=3)",
    "mpo-bias": "mpo(in=2x3x2, out=2x2x3, bias=true, bond=4)",
    "hand-mpo": "hand_mpo(in=2x3x2, out=2x2x3, bond=3)",
    "ladder": "ladder(in=2x3x2, out=2x2x3, bond=2)",
    "star": "star(in=2x3x2, out=2x2x3, bond=3)",
    "cp-hand": "cp_by_hand(in=2x3x2, out=2x4, rank=3)",
    "blocks": "blocks(in=3x4, out=3x2)",
    "diagonal": "diagonal(in=6, out=6)",
    "monarch-hand": "monarch_by_hand(in=3x4, out=2x5)",
    "triangle": "triangle(in=3x4, out=2x5, bond=3, bias=true)",
    "three-open": "three_open(in=2x3x4, out=5x2, bond=3)",
    "traced": "traced(in=4, out=5, bond=1)",
    "repeated": "repeated(in=4, out=5)",
    "low-rank": "low_rank(in=7, out=6, rank=3)",
    # The built-in types beside mpo: 1 to 5 cores, modes of 1, padding, and bonds at their maximum.
    "ring": "ring(in=2x3x2, out=2x2x3, bond=2-3-2)",
    "ring-1": "ring(in=7, out=5)",
    "ring-2": "ring(in=3x4, out=2x5, bond=2)",
    "ring-4": "ring(in=2x2x3x2, out=2x1x2x2, bond=2)",
    "ring-padded": "ring(in=4x5x1, out=2x1x3, pad_in=3, pad_out=1, bias=true, bond=3)",
    "tucker": "tucker(in=5x4, out=3x6, bond=3-2-3-4)",
    "tucker-1": "tucker(in=7, out=5, bond=3)",
    "tucker-kernel": "tucker(in=3x3x8, out=1x1x6, bond=3)",
    "tucker-ones": "tucker(in=1x5x1, out=6x1, bond=2)",
    "tucker-vector": "tucker(in=1, out=6)",
    "tucker-padded": "tucker(in=4x5, out=3x3, pad_in=1, pad_out=2, bias=true, bond=2)",
    "cp": "cp(in=2x3x2, out=2x4, rank=3)",
    "cp-1": "cp(in=7, out=5, rank=2)",
    "cp-kernel": "cp(in=3x3x4, out=1x1x5, rank=4)",
    "cp-vector": "cp(in=1x1, out=1x6)",
    "cp-padded": "cp(in=4x5x2, out=3x3x1, pad_in=1, pad_out=2, bias=true, rank=3)",
    "lowrank": "lowrank(in=12, out=10, rank=3)",
    "lowrank-modes": "lowrank(in=3x2, out=2x1x4, rank=2)",
    "lowrank-full": "lowrank(in=6, out=4, rank=4)",
    "lowrank-vector": "lowrank(in=6, out=1)",
    "kronecker": "kronecker(in=3x4, out=2x5, terms=3)",
    "kronecker-1": "kronecker(in=7, out=5)",
    "kronecker-3": "kronecker(in=2x3x2, out=1x2x3, terms=2)",
    "kronecker-4": "kronecker(in=2x1x3x2, out=2x2x1x2, bias=true, terms=5)",
    "kronecker-padded": "kronecker(in=4x5, out=3x3, pad_in=1, pad_out=2, terms=1)",
    "btt": "btt(in=3x4, out=2x5, rank=2)",
    "btt-1": "btt(in=7, out=5)",
    "btt-3": "btt(in=2x3x2, out=2x2x3, rank=2)",
    "btt-4": "btt(in=2x1x2x2, out=2x2x2x1, rank=2)",
    "btt-padded": "btt(in=4x5, out=3x3, pad_in=1, pad_out=2, bias=true)",
    "monarch": "monarch(in=3x4, out=5x2)",
    "monarch-blocks": "monarch(in=3x4, out=5x3, blocks=3)",
    "monarch-vector": "monarch(in=1x7, out=1x1)",
    "monarch-padded": "monarch(in=4x5, out=3x4, pad_in=1, pad_out=2, bias=true)",
    "blast": "blast(in=3x4, out=2x5, rank=3)",
    "blast-blocks": "blast(in=2x6, out=2x5, rank=2, blocks=2)",
    "blast-one-block": "blast(in=1x7, out=1x5, rank=3)",
    "blast-rows": "blast(in=1x7, out=3x2, rank=3)",
    "blast-vector": "blast(in=1x7, out=1x1)",
    "blast-padded": "blast(in=4x5, out=3x4, pad_in=1, pad_out=2, bias=true, rank=3)",
    "block-term": "block_term(in=3x4, out=2x3, bond=3, terms=2)",
    "block-term-1": "block_term(in=7, out=5)",
    "block-term-3": "block_term(in=2x3x2, out=1x2x3, bond=2, terms=3)",
    "block-term-4": "block_term(in=2x2x1x2, out=2x1x3x2, bond=2, terms=1)",
    "block-term-padded": "block_term(in=4x5, out=3x3, pad_in=1, pad_out=2, bias=true, bond=2, terms=2)",
    "tree-1": "tree(in=7, out=5)",
    "tree-2": "tree(in=3x4, out=2x5, bond=4)",
    "tree-3": "tree(in=2x3x2, out=2x2x3, bond=3)",
    "tree-5": "tree(in=2x2x1x2x2, out=2x1x3x2x1, bond=2)",
    "tree-padded": "tree(in=3x2x3x2, out=2x3x1x2, pad_in=1, pad_out=2, bias=true, bond=3)",
    "mera-1": "mera(in=7, out=5)",
    "mera-2": "mera(in=3x4, out=2x5, bond=4)",
    "mera-3": "mera(in=2x3x2, out=2x2x3, bond=3)",
    "mera-4": "mera(in=2x1x3x2, out=2x2x1x2, bond=2)",
    "mera-6": "mera(in=2x2x1x2x2x1, out=1x2x2x1x1x2, bond=2)",
    "mera-padded": "mera(in=3x2x2, out=2x3x1, pad_in=1, pad_out=2, bias=true, bond=2)",
    "peps-1": "peps(in=7, out=5)",
    "peps-2": "peps(in=3x4, out=2x5, bond=4)",
    "peps-3": "peps(in=2x3x2, out=2x2x3, bond=2)",
    "peps-4": "peps(in=2x1x3x2, out=2x2x1x2, bond=2)",
    "peps-5": "peps(in=2x2x1x2x2, out=2x1x3x1x1, bond=2)",
    "peps-padded": "peps(in=3x2x2, out=2x3x1, pad_in=1, pad_out=2, bias=true, bond=2)",
    "blockdiag": "blockdiag(in=3x4, out=3x2, blocks=3)",
    "blockdiag-modes": "blockdiag(in=2x3x2, out=2x5)",
    "blockdiag-diagonal": "blockdiag(in=6, out=6)",
    "blockdiag-one": "blockdiag(in=1x4, out=1x3)",
    "blockdiag-padded": "blockdiag(in=3x4, out=3x3, pad_in=1, pad_out=2, bias=true)",
}

# Sums of networks: one layer with the parameters of all terms.
SUMS = {
    "sum-2": "mpo(in=2x3x2, out=2x2x3, bond=2) + cp_by_hand(in=2x6, out=3x4, rank=3)",
    "sum-bias": "mpo(in=3x4, out=2x5, bias=true, bond=3) + low_rank(in=12, out=10, rank=2)",
    "sum-alike": "mpo(in=3x4, out=2x5, bond=2) + mpo(in=2x6, out=5x2, bond=3) + monarch_by_hand(in=3x4, out=2x5)",
    "sum-padded": "mpo(in=4x4, out=3x4, pad_in=3, pad_out=2, bond=3) + mpo(in=13, out=10)",
}

# The size of real layers, beside the market's: two of the paper, and chains of other lengths and bonds.
LARGER = [
    "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)",
    "mpo(in=4x4x4x4, out=1x1x10x1, bond=4)",
    "mpo(in=2x10x10x2, out=2x5x6x2, bond=4)",
    "mpo(in=2x2x2x2x2x2x2x2, out=3x1x3x1x2x1x2x3, bond=5)",
    "mpo(in=3x3x3x3x3, out=2x3x2x3x2, bond=6-7-7-6)",
    "mpo(in=2x3x5x2x3x2, out=2x2x2x2x2x2, bond=4-6-6-6-4)",
    "mpo(in=2x2x2x2x2x2x2, out=2x2x3x2x2x2x2, bond=3)",
]


def market():
    """Name and spec of each row."""
    return {name: tnl.spec(text) for name, text in MARKET.items()}


def chain(cores):
    """An MPO of so many cores, each with modes of 2."""
    modes = "x".join(["2"] * cores)
    return tnl.spec(f"mpo(in={modes}, out={modes}, bond=4)")


def one_of_each_type():
    """The market's first row of each network type, padded ones and sums with a bias beside them."""
    firsts = {}
    for text in MARKET.values():
        firsts.setdefault(tnl.spec(text).network, text)
    return [tnl.spec(text) for text in (*firsts.values(), MARKET["mpo-padded"], SUMS["sum-bias"])]
