"""The tree inside a network with loops: which bonds it opens, and that its cores give the weight."""

import numpy as np
import pytest
from oracle import oracle_weight

import tnlayers as tnl
from tnlayers.backends import backend
from tnlayers.decompose.decomposition import decompose
from tnlayers.decompose.starts import from_tree, opened
from tnlayers.decompose.truncated_svd import split_tree
from tnlayers.errors import TNLayersError

OPS = backend("numpy").ops
# Sized so that the bonds of a tree in each hold any weight, and how many bonds are opened.
WIDE = {
    "ring(in=2x3x2, out=3x2x2, bond=12)": 1,
    "peps(in=2x2x2x2, out=2x2x2x2, bond=16)": 1,
    "mera(in=2x2x2x2, out=2x2x2x2, bond=16)": 1,
    "block_term(in=2x3, out=3x2, terms=2, bond=6)": 1,
    "mpo(in=2x3x2, out=3x2x2, bond=6-4)": 0,
}


@pytest.mark.parametrize(("text", "count"), WIDE.items())
def test_a_wide_network_holds_any_weight_by_its_tree(text, count):
    graph = tnl.spec(text).graph
    opening = opened(graph)
    assert len(opening) == count
    assert {*opening} <= {*graph.summed}
    weight = np.random.default_rng(1).standard_normal((np.prod(graph.out_modes), np.prod(graph.in_modes)))
    cores = from_tree(OPS, graph, weight, opening, None)
    assert [core.shape for core in cores] == list(graph.shapes.values())
    assert np.linalg.norm(oracle_weight(tnl.spec(text), cores).value - weight) < 1e-12 * np.linalg.norm(weight)
    noisy = from_tree(OPS, graph, weight, opening, np.random.default_rng(2))
    changed = any(not np.array_equal(a, b) for a, b in zip(cores, noisy, strict=True))
    assert changed == bool(opening)


def test_narrow_bonds_cut_off_what_they_must():
    spec = tnl.spec("ring(in=2x3x2, out=3x2x2, bond=2)")
    graph = spec.graph
    weight = np.random.default_rng(1).standard_normal((12, 12))
    near = oracle_weight(spec, from_tree(OPS, graph, weight, opened(graph), None)).value
    assert 0.1 < np.linalg.norm(near - weight) / np.linalg.norm(weight) < 1


NO_TREE = ["cp(in=2x2, out=2x2, rank=3)", "btt(in=4x4, out=4x4)", "kronecker(in=2x2x2, out=2x2x2)"]


@pytest.mark.parametrize("text", NO_TREE)
def test_networks_without_a_tree(text):
    graph = tnl.spec(text).graph
    assert opened(graph) is None
    with pytest.raises(TNLayersError):
        split_tree(OPS, graph, np.eye(graph.in_modes[0] ** len(graph.in_modes)))


@pytest.mark.parametrize("network", ["mera", "ring", "peps"])
def test_no_error_is_reached_by_networks_with_loops(network):
    weight = np.random.default_rng(0).standard_normal((8, 12))
    assert decompose(weight, network, error=0).error < 1e-13
