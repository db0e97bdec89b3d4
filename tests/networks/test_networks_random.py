"""A thousand random graphs: as equations through `from_einsum`, and those that are layers through `@tnl.network`.

Connected and not, with hyperedges, traces, repeated and dangling indices, axes of size 1 and scalars; the truth is
`np.einsum` in float64 over the index lists that were drawn, not over those of the lowered graph.
"""

from collections import Counter
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close

import tnlayers as tnl

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SEEN = Counter()


@dataclass(frozen=True)
class Drawn:
    """Index lists of each core, the size of each index, and the open ones; an index may be input and output at once."""

    cores: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def connected(self):
        reached, size = {0}, 0
        while size < len(reached):
            size = len(reached)
            known = {i for k in reached for i in self.cores[k]}
            reached |= {k for k, core in enumerate(self.cores) if known & set(core)}
        return len(reached) == len(self.cores)

    @property
    def layer(self):
        """Whether `Declaration.linear` takes it: what it refuses is tested elsewhere."""
        opened = {*self.inputs, *self.outputs}
        ends = Counter(i for core in self.cores for i in core)
        modes = [[self.sizes[i] for i in core if i in opened] for core in self.cores]
        idle = any(found and prod(found) == 1 for found in modes) and len(self.cores) > 1
        return bool(
            self.connected
            and self.inputs
            and self.outputs
            and all(self.cores)
            and all(i in opened for i, n in ends.items() if n == 1)
            and not idle
        )


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 5))
    cores, sizes, inputs, outputs = [[] for _ in range(n)], [], [], []
    for i in range(draw(st.integers(0, 7))):
        sizes.append(draw(st.sampled_from((1, 2, 2, 3))))
        # 1 end: a mode or a dangling sum; 2: an edge or a trace; more: a hyperedge.
        ends = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
        for k in ends:
            cores[k].insert(draw(st.integers(0, len(cores[k]))), i)
        role = draw(st.sampled_from("ioioiob-" if len(ends) == 1 else "iob-----"))
        inputs += [i] if role in "ib" else []
        outputs += [i] if role in "ob" else []
    return Drawn(tuple(map(tuple, cores)), tuple(sizes), tuple(inputs), tuple(draw(st.permutations(outputs))))


@settings(max_examples=1000, derandomize=True)
@given(graphs(), st.integers(0, 2**20))
def test_random_graphs(graph, seed):
    SEEN["graphs"] += 1
    rng = np.random.default_rng(seed)
    as_equation(graph, rng)
    if graph.layer:
        SEEN["layers"] += 1
        SEEN["hyperedges"] += any(n > 2 for n in Counter(i for core in graph.cores for i in core).values())
        as_network(graph, rng)


def test_many_of_the_graphs_were_layers():
    if SEEN["graphs"] < 1000:
        pytest.skip("needs the test above")
    assert SEEN["layers"] >= 150
    assert SEEN["hyperedges"] >= 30


def as_equation(graph, rng):
    """All open indices are the output; an axis of size 1 is broadcast to a larger index now and then."""
    texts = ["".join(LETTERS[i] for i in core) for core in graph.cores]
    output = "".join(LETTERS[i] for i in dict.fromkeys((*graph.outputs, *graph.inputs)))
    equation = f"{','.join(texts)}->{output}"
    arrays = [rng.standard_normal([graph.sizes[i] for i in core]) for core in graph.cores]
    arrays = [narrowed(array, core, rng) for array, core in zip(arrays, graph.cores, strict=True)]
    f = tnl.from_einsum(equation, [array.shape for array in arrays])
    terms, scale = prod(graph.sizes) + 1, np.sqrt(np.max(np.einsum(equation, *(a**2 for a in arrays)), initial=0.0))
    assert_close(f(*arrays), np.asarray(np.einsum(equation, *arrays)), dtype="float64", terms=terms, scale=float(scale))


def narrowed(array, core, rng):
    """The array with one axis of size 1, which broadcasts, in one of ten cases; a repeated axis must stay as it is."""
    axes = [axis for axis, i in enumerate(core) if core.count(i) == 1]
    if not axes or rng.random() > 0.1:
        return array
    return array.take([0], axis=int(rng.choice(axes)))


def declaration(graph):
    """A network function for a graph: an index of two cores is a bond, one that is shared by more a copy node."""
    named = list(enumerate(graph.cores))

    def declare(in_modes, out_modes):
        net = tnl.Declaration()
        nodes = [net.core(f"c{k}", **{f"a{n}": graph.sizes[i] for n, i in enumerate(core)}) for k, core in named]
        opened = {"in": {}, "out": {}}
        for i, size in enumerate(graph.sizes):
            legs = [nodes[k][f"a{n}"] for k, core in named for n, index in enumerate(core) if index == i]
            roles = [side for side, listed in (("in", graph.inputs), ("out", graph.outputs)) if i in listed]
            if len(legs) == 2 and not roles:
                legs[0] ^ legs[1]
            elif len(legs) == 1 and len(roles) == 1:
                opened[roles[0]][i] = legs[0]
            else:
                node = net.copy(size, len(legs) + len(roles))
                for k, leg in enumerate(legs):
                    leg ^ node[k]
                for k, side in enumerate(roles, start=len(legs)):
                    opened[side][i] = node[k]
        return net.linear(
            inputs=[opened["in"][i] for i in graph.inputs], outputs=[opened["out"][i] for i in graph.outputs]
        )

    return declare


def as_network(graph, rng):
    tnl.network("random_graph")(declaration(graph))
    spec = tnl.spec(
        "random_graph",
        in_modes=tuple(graph.sizes[i] for i in graph.inputs),
        out_modes=tuple(graph.sizes[i] for i in graph.outputs),
    )
    layer = tnl.build(spec, "numpy", dtype="float64", seed=int(rng.integers(2**20)))
    x = rng.standard_normal((3, spec.in_features))
    batch = len(graph.sizes)
    operands = [(x.reshape(3, *spec.in_modes), [batch, *graph.inputs])]
    operands += [(core, list(own)) for core, own in zip(layer.cores.values(), graph.cores, strict=True)]
    output = [batch, *graph.outputs]
    value, squares = (
        np.einsum(*(part for array, own in operands for part in (array**power, own)), output) for power in (1, 2)
    )
    assert_close(
        layer(x),
        value.reshape(3, -1),
        dtype="float64",
        terms=prod(graph.sizes) + 1,
        scale=float(np.sqrt(np.max(squares, initial=0.0))),
    )


def test_the_comparison_has_teeth(monkeypatch):
    graph = Drawn(((0, 1), (1, 2)), (2, 3, 2), (0,), (2,))
    assert graph.layer
    real = np.einsum
    monkeypatch.setattr(np, "einsum", lambda *args: real(*args) * (1 + 1e-9))
    for check in (as_equation, as_network):
        with pytest.raises(AssertionError, match="off by"):
            check(graph, np.random.default_rng(0))
