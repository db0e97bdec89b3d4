"""Canonical form and balancing: the weight stays, the cores become isometries or get equal norms."""

import numpy as np
import pytest
from absent import framework
from hypothesis import given
from hypothesis import strategies as st
from layer_arrays import values
from oracle import assert_close, einsum64, oracle_weight, terms_of
from specs import MARKET, SUMS
from tnlayers_backends.numpy import OPS

import tnlayers as tnl
from tnlayers.cores.canonical import canonical, moves_to
from tnlayers.declare.graph import Core, Graph

torch = framework("torch")

# Why some networks have no canonical form, by the words of the refusal.
REASONS = {
    "ladder": "lower_0, lower_1, lower_2, upper_0, upper_1, upper_2 form a loop",
    "ring": "core_0, core_1, core_2 form a loop",
    "triangle": "a, b, c form a loop",
    "cp-hand": "index of size 3 on in_0 and in_1 and in_2 and out_0 and out_1 is a hyperedge",
    "monarch-hand": "index of size 3 on first and second is a hyperedge",
    "low-rank": "index of size 3 on a and s and b is a hyperedge",
    "traced": "index of size 2 on a and a is a trace",
    "repeated": "index of size 4 on a and a is a trace",
}


def is_tree(graph):
    """Whether every bond joins two cores, every mode is on one, and no path leads back."""
    ends = {
        i: [k for k, core in enumerate(graph.cores) for j in core.indices if i == j] for i in range(len(graph.sizes))
    }
    pairs = {tuple(ends[i]) for i in graph.summed}
    simple = all(len(set(on)) == len(on) == (2 if i in graph.summed else 1) for i, on in ends.items())
    return simple and len(pairs) == len(graph.cores) - 1


SPECS = {name: tnl.spec(text) for name, text in (MARKET | SUMS).items()}
SPECS["sum-of-trees"] = tnl.spec(
    "mpo(in=3x4, out=2x5, bond=2) + star(in=2x3x2, out=5x1x2, bond=2) + mpo(in=12, out=10)"
)
TREES = [name for name, spec in SPECS.items() if all(map(is_tree, spec.graphs))]
OTHERS = [name for name in SPECS if name not in TREES]


@st.composite
def trees(draw):
    """A random tree with a mode or two on some cores, bonds of any size (also above what is useful), and a centre."""
    n = draw(st.integers(1, 6))
    cores, sizes = [[] for _ in range(n)], []

    def index(size, *ends):
        sizes.append(size)
        for k in ends:
            cores[k].insert(draw(st.integers(0, len(cores[k]))), len(sizes) - 1)
        return len(sizes) - 1

    for k in range(1, n):
        other = draw(st.integers(0, k - 1))
        for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):  # now and then two parallel bonds
            index(draw(st.integers(1, 4)), k, other)
    inputs = [index(draw(st.integers(1, 3)), draw(st.integers(0, n - 1))) for _ in range(draw(st.integers(1, 3)))]
    outputs = [index(draw(st.integers(1, 3)), draw(st.integers(0, n - 1))) for _ in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):  # a block index: input and output at once
        inputs.append(index(2, draw(st.integers(0, n - 1))))
        outputs.append(inputs[-1])
    named = tuple(Core(f"c{k}", tuple(indices)) for k, indices in enumerate(cores))
    graph = Graph(cores=named, sizes=tuple(sizes), inputs=tuple(inputs), outputs=tuple(outputs))
    return graph, draw(st.integers(0, n - 1)), draw(st.integers(0, 99))


def entries(graph, cores):
    """The weight's entries that are not structural zeros."""
    opened = list(dict.fromkeys((*graph.inputs, *graph.outputs)))
    operands = [(core, c.indices) for core, c in zip(cores, graph.cores, strict=True)]
    return einsum64(operands, opened, terms_of(graph))


def assert_isometry(core, indices, bond, dtype):
    """Q^H Q is the identity, or a projector where the bond is larger than the other axes together."""
    core = np.asarray(core.detach() if hasattr(core, "detach") else core, np.float64)
    ends = [indices.index(i) for i in bond]
    columns = int(np.prod([core.shape[a] for a in ends]))
    q = np.moveaxis(core, ends, range(-len(ends), 0)).reshape(-1, columns)
    gram = q.T @ q
    tolerance = 50 * np.finfo(dtype).eps
    assert np.abs(gram @ gram - gram).max() < tolerance
    assert abs(np.trace(gram) - min(q.shape)) < tolerance * len(gram)


@given(trees())
def test_random_trees(drawn):
    graph, centre, seed = drawn
    rng = np.random.default_rng(seed)
    cores = [rng.standard_normal(graph.shape(core)) for core in graph.cores]
    swept = canonical(OPS, graph, cores, centre)
    before = entries(graph, cores)
    assert_close(entries(graph, swept).value, before, dtype="float64")
    assert [c.shape for c in swept] == [c.shape for c in cores]
    moves = moves_to(graph, centre)
    assert sorted([centre, *(move.source for move in moves)]) == list(range(len(cores)))
    for move in moves:
        assert_isometry(swept[move.source], graph.cores[move.source].indices, move.bond, "float64")
    scale = np.sum(before.value**2)
    assert abs(np.sum(swept[centre] ** 2) - scale) < 1e-12 * max(scale, before.scale**2 * before.value.size)


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "float32"), ("numpy", "float64")])
@pytest.mark.parametrize("name", TREES)
def test_layers(name, backend, dtype):
    layer = tnl.build(SPECS[name], backend=backend, seed=5, dtype=dtype)
    graphs = layer.spec.graphs
    before = oracle_weight(layer.spec, values(layer)[0])
    held = list(layer.cores.values())
    for centre in (None, list(layer.cores)[len(held) // 2], list(layer.cores)[-1]):
        layer.canonicalise_(centre)
        swept = dict(zip(layer.cores, values(layer)[0], strict=True))
        assert_close(oracle_weight(layer.spec, swept.values()).value.astype(dtype), before, dtype=dtype)
        assert {key: core.shape for key, core in swept.items()} == layer.spec.shapes
        for graph in graphs:
            own = [core.name for core in graph.cores]
            at = own.index(centre) if centre in own else 0
            for move in moves_to(graph, at):
                core = graph.cores[move.source]
                assert_isometry(swept[core.name], core.indices, move.bond, dtype)
            if len(graphs) == 1 and not layer.spec.pad_in:
                expected = np.sum(np.asarray(swept[own[at]], np.float64) ** 2)
                assert_close(layer.norm2(), expected, dtype=dtype, terms=before.terms)
    if backend == "torch":  # in place: optimizers go on with the same parameters
        assert all(one is other for one, other in zip(held, layer.cores.values(), strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_loops_and_hyperedges_are_refused(name):
    layer = tnl.build(SPECS[name], "numpy")
    before = values(layer)[0]
    with pytest.raises(tnl.TNLayersError, match=rf"(?s)no canonical form: .*{REASONS.get(name, '')}.*balance_"):
        layer.canonicalise_()
    assert all(np.array_equal(a, b) for a, b in zip(before, values(layer)[0], strict=True))


def test_the_market_has_both():
    assert len(TREES) > 30
    assert len(OTHERS) > 30
    assert set(OTHERS) > set(REASONS)


def test_an_unknown_centre_is_refused():
    with pytest.raises(tnl.TNLayersError, match="no core 'core_9' to be the centre; the cores are core_0"):
        tnl.build(MARKET["mpo-2"]).canonicalise_("core_9")


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "float32"), ("numpy", "float64")])
@pytest.mark.parametrize(
    "name", ["mpo-4", "ring", "cp", "monarch", "traced", "repeated", "peps-5", "sum-2", "sum-padded"]
)
def test_balance(name, backend, dtype):
    layer = tnl.build(SPECS[name], backend=backend, seed=5, dtype=dtype)
    first = next(iter(layer.cores))
    if backend == "torch":
        with torch.no_grad():
            layer.cores[first].mul_(1000)
    else:
        layer.cores[first] = layer.cores[first] * 1000
    before = oracle_weight(layer.spec, values(layer)[0])
    layer.balance_()
    assert_close(oracle_weight(layer.spec, values(layer)[0]).value.astype(dtype), before, dtype=dtype)
    norms = dict(zip(layer.cores, map(np.linalg.norm, values(layer)[0]), strict=True))
    for graph in layer.spec.graphs:
        own = [norms[core.name] for core in graph.cores]
        assert max(own) < min(own) * (1 + 1e-5)


def test_a_weight_of_zero_stays_zero():
    layer = tnl.build(MARKET["mpo-3"], seed=0)
    with torch.no_grad():
        layer.core_1.zero_()
    for change in (layer.balance_, layer.canonicalise_):
        change()
        assert not layer.to_dense().any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_swept_in_single(dtype):
    layer = tnl.build(MARKET["mpo-4"], seed=5, dtype=dtype)
    before = [core.detach().double().numpy() for core in layer.cores.values()]
    layer.canonicalise_("core_2")
    after = [core.detach().double().numpy() for core in layer.cores.values()]
    found = torch.from_numpy(oracle_weight(layer.spec, after).value).to(layer.core_0.dtype)
    assert_close(found, oracle_weight(layer.spec, before), dtype=dtype)


def test_complex_cores():
    layer = tnl.build(MARKET["star"], seed=5, dtype="complex128")
    with torch.no_grad():
        for core in layer.cores.values():
            core.copy_(torch.randn(core.shape, dtype=core.dtype, generator=torch.Generator().manual_seed(1)))
    before = layer.to_dense().detach()
    layer.canonicalise_("leaf_1")
    torch.testing.assert_close(layer.to_dense().detach(), before, rtol=0, atol=1e-13 * float(before.abs().max()))
    torch.testing.assert_close(layer.norm2(), layer.leaf_1.abs().square().sum(), rtol=1e-12, atol=0)


def test_the_comparisons_have_teeth():
    layer = tnl.build(MARKET["mpo-3"], "numpy", seed=5, dtype="float64")
    before = oracle_weight(layer.spec, values(layer)[0])
    layer.canonicalise_("core_2")
    graph = layer.spec.graph
    layer.cores["core_0"] = layer.cores["core_0"] * (1 + 1e-10)
    for move in moves_to(graph, 2):
        core = graph.cores[move.source]
        if core.name == "core_0":
            with pytest.raises(AssertionError):
                assert_isometry(layer.cores["core_0"], core.indices, move.bond, "float64")
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer.to_dense(), before, dtype="float64")
