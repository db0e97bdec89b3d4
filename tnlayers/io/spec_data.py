"""Specs and their graphs as plain data in a header, and every check that makes such data a `Spec` again.

Nothing is asked of the network types: whoever reads a file need not have declared them, and nobody's function runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from tnlayers.declare.graph import Core, Graph, usable_name
from tnlayers.declare.keywords import FIELDS, checked
from tnlayers.declare.spec import Spec
from tnlayers.declare.templates import check_pads
from tnlayers.errors import TNLayersError

# Far above every network in use (a 4096 x 4096 mpo of modes 2 has 12 cores of 46 axes together), and so few that
# checking and planning them takes two seconds at most, whatever the graph.
MOST_CORES = 128
MOST_AXES_IN_ALL = 400
MOST_AXES = 62  # numpy holds 64, and the batch and one more index come on top
LARGEST = 2**900  # estimates of time are floats, which end at 2^1023


def graph_to_data(graph: Graph) -> dict[str, Any]:
    """A graph as JSON can hold it.

    Example:
        >>> import tnlayers as tnl
        >>> graph_to_data(tnl.spec("mpo(in=2x3, out=4x5, bond=6)").graph)["cores"]
        [['core_0', [0, 1, 2]], ['core_1', [2, 3, 4]]]
    """
    check_size(graph)
    return {
        "cores": [[core.name, list(core.indices)] for core in graph.cores],
        "sizes": list(graph.sizes),
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }


def graph_from_data(data: object) -> Graph:
    """Read what `graph_to_data` wrote.

    Raises:
        ValueError: The data is not that of a graph that a declaration could have; the message says why.
    """
    if not isinstance(data, dict) or set(data) != {"cores", "sizes", "inputs", "outputs"}:
        raise ValueError("a graph has cores, sizes, inputs and outputs, and nothing else")
    cores = data["cores"]
    if not isinstance(cores, list) or not 1 <= len(cores) <= MOST_CORES:
        raise ValueError(f"a graph has 1 to {MOST_CORES} cores")
    if not all(isinstance(core, list) and len(core) == 2 for core in cores):
        raise ValueError("a core is a pair of its name and its indices")
    if not isinstance(data["sizes"], list) or not all(type(size) is int and size >= 1 for size in data["sizes"]):
        raise ValueError("every size of an index must be an integer of at least 1")
    graph = Graph(
        cores=tuple(Core(_name(name), _indices(indices, data["sizes"])) for name, indices in cores),
        sizes=tuple(data["sizes"]),
        inputs=_indices(data["inputs"], data["sizes"]),
        outputs=_indices(data["outputs"], data["sizes"]),
    )
    check_size(graph)
    _check_structure(graph)
    return graph


def check_size(graph: Graph) -> None:
    """Refuse a graph that is too large for a file.

    Raises:
        TNLayersError: It has more cores, or more axes, than loading would plan in two seconds.
    """
    axes = sum(len(core.indices) for core in graph.cores)
    if len(graph.cores) > MOST_CORES or axes > MOST_AXES_IN_ALL:
        raise TNLayersError(
            f"a network of {len(graph.cores)} cores with {axes} axes is too large for a file, which takes "
            f"{MOST_CORES} cores with {MOST_AXES_IN_ALL} axes: declare it with fewer and larger modes"
        )


def _name(name: object) -> str:
    if not isinstance(name, str) or not usable_name(name):
        raise ValueError(f"{str(name)[:40]!r} cannot be the name of a core")
    return name


def _indices(indices: object, sizes: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(indices, list) or not 1 <= len(indices) <= MOST_AXES:
        raise ValueError(f"a core, the inputs and the outputs have 1 to {MOST_AXES} indices each")
    if not all(type(index) is int and 0 <= index < len(sizes) for index in indices):
        raise ValueError(f"every index must be an integer from 0 to {len(sizes) - 1}")
    return tuple(indices)


def _check_structure(graph: Graph) -> None:
    if len(graph.shapes) < len(graph.cores):
        raise ValueError("two cores have the same name")
    on_cores = {index for core in graph.cores for index in core.indices}
    if on_cores != set(range(len(graph.sizes))):
        raise ValueError("no core has an index")
    for side, modes in (("input", graph.inputs), ("output", graph.outputs)):
        if len(set(modes)) < len(modes):
            raise ValueError(f"an index is {side} twice")
    joined = set(graph.cores[0].indices)
    apart = list(graph.cores[1:])
    while found := [core for core in apart if joined & set(core.indices)]:
        joined.update(index for core in found for index in core.indices)
        apart = [core for core in apart if core not in found]
    if apart:
        raise ValueError(f"core {apart[0].name!r} is not connected to {graph.cores[0].name!r}")
    if prod(graph.sizes) >= LARGEST:
        raise ValueError("the sizes of its indices multiply to more than 2^900, the most that costs are counted to")


def spec_from_data(data: object, graphs: object) -> Spec:
    """A spec and the graphs that go with it, without asking the network type, which may not be declared here.

    Raises:
        ValueError: They are not valid, or do not fit together.
    """
    if not isinstance(data, dict) or not isinstance(graphs, list):
        raise ValueError("a spec is a table and its graphs are a list")
    spec = _single(data) if "network" in data else _sum(data)  # a type may have a keyword "terms"
    lowered = tuple(graph_from_data(graph) for graph in graphs)
    if len(lowered) != len(spec.parts):
        raise ValueError(f"{len(lowered)} graphs for {len(spec.parts)} networks")
    for part, graph in zip(spec.parts, lowered, strict=True):
        if part.modes != (graph.in_modes, graph.out_modes):
            raise ValueError(f"{str(part)[:80]} has other modes than its graph: {graph.in_modes}, {graph.out_modes}")
    names = [core.name for graph in lowered for core in graph.cores]
    if len(set(names)) < len(names):
        raise ValueError("two networks have a core of the same name")
    return replace(spec, lowered=lowered)


def _sum(data: Mapping[str, Any]) -> Spec:
    terms = data.get("terms")
    if set(data) - {"terms", "bias"} or not isinstance(terms, list) or len(terms) < 2:
        raise ValueError("a sum has at least two terms and perhaps a bias")
    parts = tuple(_single(term) for term in terms)
    sizes = {(part.in_features, part.out_features) for part in parts}
    if len(sizes) > 1 or any(part.bias for part in parts):
        raise ValueError("the terms of a sum have equal sizes and no bias of their own")
    return Spec(network="sum", terms=parts, bias=bool(checked("bias", data.get("bias", False))))


def _single(data: object) -> Spec:
    if not isinstance(data, dict) or not str(data.get("network", "")).isidentifier():
        raise ValueError("a spec has the name of its network")
    fields: dict[str, Any] = {key: checked(key, data[key]) for key in FIELDS if key in data}
    options = {key: checked(key, value) for key, value in data.items() if key not in ("network", *FIELDS)}
    spec = Spec(network=data["network"], options=tuple(sorted(options.items())), **fields)
    if not spec.sized or spec.cores is not None or not all(key.isidentifier() for key in options):
        raise ValueError("a layer has sizes, and keywords that are identifiers")
    check_pads(spec)
    return spec
