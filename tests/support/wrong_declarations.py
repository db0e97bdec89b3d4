"""Declarations that are wrong, and what the refusal of each must name."""

import numpy as np
import specs  # noqa: F401  declares the network types
import tensornetwork as tn

import tnlayers as tnl


def pair(net=None, bond=3):
    """Two cores not yet joined."""
    net = net or tnl.Declaration()
    return net, net.core("a", i=4, o=2, right=bond), net.core("b", left=bond, i=7, o=5)


def close(net, a, b):
    return net.linear(inputs=[a["i"], b["i"]], outputs=[a["o"], b["o"]])


def edge_used_twice():
    _, a, b = pair()
    a["right"] ^ b["left"]
    a["right"] ^ b["left"]


def joined_to_a_used_edge():
    _, a, b = pair()
    a["right"] ^ b["left"]
    b["o"] ^ a["right"]


def old_leg_joined_again():
    _, a, b = pair()
    leg = a["right"]
    leg ^ b["left"]
    leg ^ b["left"]


def old_leg_listed():
    net, a, b = pair()
    leg = a["right"]
    leg ^ b["left"]
    net.linear(inputs=[a["i"], b["i"], leg], outputs=[a["o"], b["o"]])


def open_edge_forgotten():
    net, a, b = pair()
    a["right"] ^ b["left"]
    net.linear(inputs=[a["i"], b["i"]], outputs=[a["o"]])


def bond_left_open():
    close(*pair())


def listed_twice():
    net, a, b = pair()
    a["right"] ^ b["left"]
    net.linear(inputs=[a["i"], b["i"]], outputs=[a["o"], b["o"], a["i"]])


def bond_listed_as_mode():
    net, a, b = pair()
    edge = a["right"] ^ b["left"]
    net.linear(inputs=[a["i"], b["i"], edge], outputs=[a["o"], b["o"]])


def disconnected():
    net = tnl.Declaration()
    a, b = net.core("a", i=4, o=2), net.core("b", i=7, o=5)
    close(net, a, b)


def on_one_copy_node(side):
    net = tnl.Declaration()
    a = net.core("a", d=6, i=2, o=2)
    edge = net.copy(6, ["p", "q", "core"], name="edge")
    edge["core"] ^ a["d"]
    both, lone = [edge["p"], edge["q"]], "o" if side == "inputs" else "i"
    rest = {"inputs": [a["i"]], "outputs": [a["o"]]}
    rest[side] = [*both, *rest[side]]
    assert lone in ("i", "o")
    net.linear(**rest)


def modes_all_1():
    net = tnl.Declaration()
    a, b = net.core("a", i=4, o=2, right=3), net.core("b", left=3, i=1, o=1)
    a["right"] ^ b["left"]
    close(net, a, b)


def same_name_by_hand():
    a = tn.Node(np.zeros((2, 3)), name="a", axis_names=["i", "r"])
    b = tn.Node(np.zeros((3, 2)), name="a", axis_names=["l", "o"])
    a["r"] ^ b["l"]
    tnl.Declaration().linear(inputs=[a["i"]], outputs=[b["o"]])


def with_pair(use):
    def run():
        _, a, b = pair()
        return use(a, b)

    return run


def with_net(use):
    return lambda: use(tnl.Declaration())


DECLARATIONS = {
    "edge used twice": (edge_used_twice, ["a.right - b.left", "already joined", "net.copy"]),
    "free leg to a used edge": (joined_to_a_used_edge, ["a.right - b.left", "already joined"]),
    "leg kept in a variable, used again": (old_leg_joined_again, ["a.right - b.left", "already joined"]),
    "leg kept in a variable, listed": (old_leg_listed, ["a.right - b.left", "inputs", "bond"]),
    "open edge forgotten": (open_edge_forgotten, ["b.o", "size 5", "neither in inputs nor in outputs"]),
    "bond left open": (bond_left_open, ["a.right", "size 3", "`^`"]),
    "listed twice": (listed_twice, ["a.i", "listed twice"]),
    "bond listed as mode": (bond_listed_as_mode, ["a.right - b.left", "inputs", "bond"]),
    "disconnected": (disconnected, ["b is not connected to a", "bond of size 1"]),
    "two inputs on one copy node": (lambda: on_one_copy_node("inputs"), ["edge.p", "edge.q", "size 6", "input"]),
    "two outputs on one copy node": (lambda: on_one_copy_node("outputs"), ["edge.p", "edge.q", "size 6", "output"]),
    "modes all 1": (modes_all_1, ["'b'", "all 1 (1 x 1)"]),
    "same name by hand": (same_name_by_hand, ["'a'", "unique"]),
    "unknown leg": (with_pair(lambda a, b: a["rigth"]), ["a has no leg 'rigth'", "i, o, right"]),
    "leg number": (with_pair(lambda a, b: a[7]), ["a has no leg 7", "i, o, right"]),
    "sizes differ": (with_pair(lambda a, b: a["i"] ^ b["i"]), ["a.i has size 4", "b.i has size 7"]),
    "leg to itself": (with_pair(lambda a, b: a["i"] ^ a["i"]), ["a.i", "itself"]),
    "leg to a number": (with_pair(lambda a, b: a["i"] ^ 3), ["got 3", "core_a['right']"]),
    "number to a leg": (with_pair(lambda a, b: 3 ^ a["i"]), ["got 3"]),
    "leg to a core": (with_pair(lambda a, b: a["i"] ^ b), ["two legs"]),
    "bond 0": (with_net(lambda net: net.core("a", i=4, right=0)), ["leg 'right' of core 'a'", "got 0"]),
    "size in words": (with_net(lambda net: net.core("a", i="4")), ["leg 'i' of core 'a'", "'4'"]),
    "copy of size 0": (with_net(lambda net: net.copy(0, 3)), ["'copy_0'", "got 0"]),
    "copy with one leg": (with_net(lambda net: net.copy(3, 1)), ["'copy_0'", "at least two legs"]),
    "copy with equal legs": (with_net(lambda net: net.copy(3, ["p", "p"])), ["['p', 'p']"]),
    "core without legs": (with_net(lambda net: net.core("a")), ["'a' has no legs"]),
    "duplicate name": (with_net(lambda net: (net.core("a", i=2), net.core("a", o=2))), ["'a'", "unique"]),
    "bad name": (with_net(lambda net: net.core("core 1", i=2)), ["'core 1'", "identifier"]),
    "keyword as name": (with_net(lambda net: net.core("lambda", i=2)), ["'lambda'"]),
    "reserved name": (with_net(lambda net: net.core("weight", i=2)), ["'weight'"]),
    "number as name": (with_net(lambda net: net.core(3, i=2)), ["3"]),
    "no inputs": (with_net(lambda net: net.linear(inputs=[], outputs=[])), ["no inputs"]),
    "a leg, not a list": (
        with_net(lambda net: net.linear(inputs=net.core("a", i=2)["i"], outputs=[])),
        ["inputs", "list"],
    ),
    "no legs but words": (with_net(lambda net: net.linear(inputs=["i"], outputs=["o"])), ["'i'", "core['inp']"]),
}
