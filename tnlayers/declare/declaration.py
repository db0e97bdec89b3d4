"""Declaring a layer as a TensorNetwork graph: the one module that imports `tensornetwork`.

A network function makes nodes, joins their legs with TensorNetwork's own `a["right"] ^ b["left"]` and says which of the
legs left open are the layer's input and output modes:

        out_0     out_1     out_2
          |         |         |
       core_0 -- core_1 -- core_2        net.linear(inputs=[in_0, in_1, in_2], outputs=[out_0, out_1, out_2])
          |         |         |
        in_0      in_1      in_2

Nodes have placeholders of stride zero, so declaring a 4096 x 4096 layer costs no memory. They are real `tn.Node`s: all
of TensorNetwork can look at them. Here they are only checked and turned into a frozen `Graph`; nothing is contracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensornetwork as tn

from tnlayers.declare.graph import RESERVED_NAMES, Core, Graph, check_count, check_modes, usable_name
from tnlayers.errors import TNLayersError


def _name(edge: tn.Edge) -> str:
    """An edge in words: `core_0.right`, or `core_0.right - core_1.left` once it is joined."""
    ends = [(edge.node1, edge.axis1)] if edge.is_dangling() else [(edge.node1, edge.axis1), (edge.node2, edge.axis2)]
    return " - ".join(f"{node.name}.{node.axis_names[axis]}" for node, axis in ends)


def _is_open(edge: tn.Edge) -> bool:
    """Whether this is an open leg still: joining puts a new edge in the place of the two legs."""
    return edge.is_dangling() and edge.node1.edges[edge.axis1] is edge


class Leg(tn.Edge):  # type: ignore[misc]
    """A leg of a node, open or joined; `^` joins it with another, and says what is wrong where that cannot be."""

    def __xor__(self, other: object) -> tn.Edge:
        return _join(self, other)

    # `edge ^ leg` with a plain tn.Edge comes here, because Leg is its subclass.
    def __rxor__(self, other: object) -> tn.Edge:
        return _join(other, self)


def _join(left: object, right: object) -> tn.Edge:
    """What `tn.connect` does, with our messages, and with an edge that has them too when it is used again."""
    _check_joinable(left, right)
    assert isinstance(left, tn.Edge)
    assert isinstance(right, tn.Edge)
    bond = Leg(node1=left.node1, axis1=left.axis1, name=left.name, node2=right.node1, axis2=right.axis1)
    left.node1.add_edge(bond, left.axis1, override=True)
    right.node1.add_edge(bond, right.axis1, override=True)
    return bond


def _check_joinable(left: object, right: object) -> None:
    for edge in (left, right):
        if not isinstance(edge, tn.Edge):
            raise TNLayersError(f"`^` joins two legs of nodes, got {edge!r}. Write core_a['right'] ^ core_b['left'].")
        if not _is_open(edge):
            now = edge.node1.edges[edge.axis1]
            raise TNLayersError(
                f"The edge {_name(now)} is already joined; an edge joins exactly two legs. To let three or more cores "
                "share one index, join each to a leg of net.copy(size, legs)."
            )
    assert isinstance(left, tn.Edge)
    assert isinstance(right, tn.Edge)
    if left is right:
        raise TNLayersError(f"The leg {_name(left)} cannot be joined to itself; give the core a second leg.")
    if left.dimension != right.dimension:
        raise TNLayersError(
            f"{_name(left)} has size {left.dimension} but {_name(right)} has size {right.dimension}. Two legs that are "
            "joined need equal sizes: change one of the two in net.core(...)."
        )


class CoreNode(tn.Node):  # type: ignore[misc]
    """A `tn.Node` with a placeholder of stride zero, whose legs explain themselves when misused."""

    def __init__(self, name: str, legs: dict[str, int]) -> None:
        placeholder = np.broadcast_to(np.zeros((), np.float32), tuple(legs.values()))
        super().__init__(placeholder, name=name, axis_names=list(legs), backend="numpy")
        _dress(self)

    def __getitem__(self, key: Any) -> Any:
        return _leg(self, key) if isinstance(key, (str, int)) else super().__getitem__(key)


class CopyNode(tn.CopyNode):  # type: ignore[misc]
    """A `tn.CopyNode` (all its legs are one index) whose legs explain themselves when misused."""

    def __init__(self, name: str, size: int, legs: Sequence[str]) -> None:
        super().__init__(rank=len(legs), dimension=size, name=name, axis_names=list(legs), backend="numpy")
        _dress(self)

    def __getitem__(self, key: Any) -> Any:
        return _leg(self, key) if isinstance(key, (str, int)) else super().__getitem__(key)


def _dress(node: tn.AbstractNode) -> None:
    for axis, name in enumerate(node.axis_names):
        node.add_edge(Leg(node1=node, axis1=axis, name=name), axis, override=True)


def _leg(node: tn.AbstractNode, name: str | int) -> tn.Edge:
    if name not in node.axis_names and name not in range(len(node.axis_names)):
        raise TNLayersError(f"{node.name} has no leg {name!r}; its legs are {', '.join(node.axis_names)}.")
    return node.get_edge(name)


class Declaration:
    """Collects the nodes of one layer and checks them.

    Example:
        >>> import tnlayers as tnl
        >>> net = tnl.Declaration()
        >>> a = net.core("a", inp=4, right=3)
        >>> b = net.core("b", left=3, out=5)
        >>> edge = a["right"] ^ b["left"]
        >>> net.linear(inputs=[a["inp"]], outputs=[b["out"]]).shapes
        {'a': (4, 3), 'b': (3, 5)}
    """

    def __init__(self) -> None:
        self._nodes: list[tn.AbstractNode] = []

    def core(self, name: str, /, **legs: int) -> tn.Node:
        """A core: a `tn.Node` whose axes are the legs in the order given; its name is the parameter's name.

        Args:
            name: A Python identifier, unique in the layer.
            **legs: Size of each leg by name, each at least 1; at least one leg.

        Raises:
            TNLayersError: If the name is taken or unusable, a size is not a positive integer, or there are too many
                cores.
        """
        self._check_name(name, self._nodes)
        if not legs:
            raise TNLayersError(f"Core {name!r} has no legs; give it at least one, as in net.core({name!r}, inp=4).")
        for leg, size in legs.items():
            _check_size(f"leg {leg!r} of core {name!r}", size)
        check_count(len(self._nodes) + 1 - sum(isinstance(node, tn.CopyNode) for node in self._nodes))
        node = CoreNode(name, legs)
        self._nodes.append(node)
        return node

    def copy(self, size: int, legs: Sequence[str] | int, name: str | None = None) -> tn.CopyNode:
        """A copy node: all its legs are one index (a hyperedge). It has no parameters.

        Args:
            size: The size of the index.
            legs: Names of the legs, or how many (then named "0", "1", ...); at least two.
            name: A name for messages; "copy_<k>" if not given.

        Raises:
            TNLayersError: If there are fewer than two legs, or the size is not a positive integer.
        """
        names = [str(k) for k in range(legs)] if isinstance(legs, int) else list(legs)
        name = name or f"copy_{sum(isinstance(node, tn.CopyNode) for node in self._nodes)}"
        self._check_name(name, self._nodes)
        _check_size(f"copy node {name!r}", size)
        if len(names) < 2 or len(set(names)) < len(names):
            raise TNLayersError(f"Copy node {name!r} needs at least two legs of different names, got {names}.")
        node = CopyNode(name, size, names)
        self._nodes.append(node)
        return node

    def linear(self, *, inputs: Iterable[tn.Edge], outputs: Iterable[tn.Edge]) -> Graph:
        """Close the declaration: these open legs are the input and output modes of a linear layer, slowest first.

        Returns:
            The frozen graph. Cores appear in order of declaration, then any further `tn.Node`s joined to them.

        Raises:
            TNLayersError: If an open leg is listed twice or not at all, a listed one is not open, a core is not
                connected to the rest, two inputs (or two outputs) end on one copy node, or a core's modes are all 1.
        """
        lists = {"inputs": _listed("inputs", inputs), "outputs": _listed("outputs", outputs)}
        for side, edges in lists.items():
            _check_open(side, edges)
        nodes = self._collect([*lists["inputs"], *lists["outputs"]])
        _check_all_listed(nodes, lists)
        _check_connected(nodes)
        return _lower(nodes, lists["inputs"], lists["outputs"])

    def _check_name(self, name: object, nodes: Sequence[tn.AbstractNode]) -> None:
        if not usable_name(name):
            raise TNLayersError(
                f"A core cannot be named {name!r}: it needs a Python identifier other than {sorted(RESERVED_NAMES)}, "
                "because the name becomes a parameter's name, as in 'core_0'."
            )
        if any(node.name == name for node in nodes):
            raise TNLayersError(f"There is already a node named {name!r} in this layer; names must be unique.")

    def _collect(self, edges: list[tn.Edge]) -> list[tn.AbstractNode]:
        """The declared nodes, then any made by hand with `tn.Node` that are reachable from the open legs."""
        known = set(self._nodes)
        nodes = list(self._nodes)
        for found in sorted(tn.reachable([e.node1 for e in edges]), key=lambda node: str(node.name)):
            if found not in known:
                self._check_name(found.name, nodes)
                nodes.append(found)
        return nodes


def _check_size(what: str, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise TNLayersError(f"The size of {what} must be a positive integer, got {size!r}.")


def _listed(side: str, edges: object) -> list[tn.Edge]:
    if not isinstance(edges, Iterable):
        raise TNLayersError(f"net.linear({side}=...) takes a list of legs such as [core['inp']], got {edges!r}.")
    return list(edges)


def _check_open(side: str, edges: list[tn.Edge]) -> None:
    if not edges:
        raise TNLayersError(f"net.linear got no {side}; a layer needs at least one input and one output leg.")
    for edge in edges:
        if not isinstance(edge, tn.Edge):
            raise TNLayersError(f"net.linear({side}=...) takes legs such as core['inp'], got {edge!r}.")
        if not _is_open(edge):
            now = edge.node1.edges[edge.axis1]
            raise TNLayersError(
                f"{_name(now)} is listed in {side} but is a bond between two nodes; only open legs can be modes."
            )


def _check_all_listed(nodes: list[tn.AbstractNode], lists: dict[str, list[tn.Edge]]) -> None:
    listed = [*lists["inputs"], *lists["outputs"]]
    for k, edge in enumerate(listed):
        if any(edge is other for other in listed[:k]):
            raise TNLayersError(f"The open leg {_name(edge)} is listed twice; each belongs to inputs or outputs, once.")
    for node in nodes:
        for edge in node.edges:
            if edge.is_dangling() and not any(edge is other for other in listed):
                raise TNLayersError(
                    f"The leg {_name(edge)} of size {edge.dimension} is open but neither in inputs nor in outputs. "
                    "Join it to another leg with `^`, or list it in net.linear(inputs=[...], outputs=[...])."
                )


def _check_connected(nodes: list[tn.AbstractNode]) -> None:
    reached = tn.reachable(nodes[0])
    apart = [str(node.name) for node in nodes if node not in reached]
    if apart:
        raise TNLayersError(
            f"{', '.join(apart)} {'is' if len(apart) == 1 else 'are'} not connected to {nodes[0].name}. All cores of a "
            "layer must hang together: join them with `^` (a bond of size 1 will do), or remove them."
        )


def _lower(nodes: list[tn.AbstractNode], inputs: list[tn.Edge], outputs: list[tn.Edge]) -> Graph:
    """Number the indices: every edge is one, and all edges that meet in a copy node are the same one."""
    root: dict[tn.Edge, tn.Edge] = {edge: edge for node in nodes for edge in node.edges}

    def find(edge: tn.Edge) -> tn.Edge:
        while root[edge] is not edge:
            edge = root[edge]
        return edge

    copies = [node for node in nodes if isinstance(node, tn.CopyNode)]
    for node in copies:
        for edge in node.edges[1:]:
            root[find(edge)] = find(node.edges[0])
    cores = [node for node in nodes if not isinstance(node, tn.CopyNode)]
    number: dict[tn.Edge, int] = {}
    for edge in (find(e) for node in [*cores, *copies] for e in node.edges):
        number.setdefault(edge, len(number))
    for side, edges in (("input", inputs), ("output", outputs)):
        _check_copies(side, edges, [find(e) for e in edges])
    graph = Graph(
        cores=tuple(Core(str(node.name), tuple(number[find(e)] for e in node.edges)) for node in cores),
        sizes=tuple(int(edge.dimension) for edge in number),
        inputs=tuple(number[find(e)] for e in inputs),
        outputs=tuple(number[find(e)] for e in outputs),
    )
    check_modes(graph)
    return graph


def _check_copies(side: str, edges: list[tn.Edge], roots: list[tn.Edge]) -> None:
    for k, edge in enumerate(edges):
        for other, its_root in zip(edges[:k], roots[:k], strict=True):
            if roots[k] is its_root:
                raise TNLayersError(
                    f"Two {side} legs, {_name(other)} and {_name(edge)}, end on one copy node of size "
                    f"{edge.dimension}. A copy node may carry at most one input and one output leg: the {side} would "
                    "be read only where both modes are equal. Give each its own core or copy node."
                )
