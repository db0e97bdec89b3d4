"""At full bond the universal types equal any dense weight; blockdiag and monarch every weight of their structure.

The weight is linear in each core. With all cores but one drawn at random, one least-squares solve for that core is an
exact, constructive decomposition of any target, if the network at that size is universal.
"""

from math import prod

import numpy as np
import pytest
from specs import MARKET  # noqa: F401  declares the types of the tests

import tnlayers as tnl

# Full bond, the core that is solved for, and a size too small (None where it stays universal far below).
UNIVERSAL = {
    "mpo(in=2x3x2, out=2x2x3, bond=4-6)": ("core_1", "mpo(in=2x3x2, out=2x2x3, bond=3-6)"),
    "ring(in=2x3x2, out=2x2x3, bond=1-4-6)": ("core_1", "ring(in=2x3x2, out=2x2x3, bond=1-3-6)"),
    "ring(in=2x3x2, out=2x1x3, bond=4)": ("core_2", "ring(in=2x3x2, out=2x1x3, bond=3)"),
    "tucker(in=4x3, out=3x2, bond=4)": ("core", "tucker(in=4x3, out=3x2, bond=2)"),
    "cp(in=2x3, out=4x2, rank=12)": ("out_0", "cp(in=2x3, out=4x2, rank=3)"),
    "lowrank(in=9, out=6, rank=6)": ("down", "lowrank(in=9, out=6, rank=5)"),
    "kronecker(in=3x4, out=2x5, terms=6)": ("core_1", "kronecker(in=3x4, out=2x5, terms=5)"),
    "kronecker(in=2x3x1, out=2x2x2, terms=8)": ("core_1", "kronecker(in=2x3x1, out=2x2x2, terms=3)"),
    "btt(in=3x4, out=2x5, rank=2)": ("core_1", "btt(in=3x4, out=2x5, rank=1)"),
    "btt(in=2x2x3, out=2x2x2, rank=3)": ("core_1", "btt(in=2x2x3, out=2x2x2, rank=2)"),
    "blast(in=3x3, out=2x3, rank=6)": ("down", "blast(in=3x3, out=2x3, rank=3)"),
    "block_term(in=2x3x2, out=2x2x2, bond=6, terms=1)": ("core", "block_term(in=2x3x2, out=2x2x2, bond=3, terms=1)"),
    "tree(in=2x3x2, out=2x2x3, bond=6)": ("node_0_1", "tree(in=2x3x2, out=2x2x3, bond=5)"),
    "tree(in=2x2x2x2, out=2x1x2x1, bond=8)": ("node_0_1", "tree(in=2x2x2x2, out=2x1x2x1, bond=7)"),
    "mera(in=2x2x2x2, out=1x2x1x1, bond=8)": ("isometry_0_0", "mera(in=2x2x2x2, out=1x2x1x1, bond=1)"),
    "peps(in=2x2x2x2, out=1x2x1x1, bond=4)": ("core_1", "peps(in=2x2x2x2, out=1x2x1x1, bond=1)"),
}


def targets(spec):
    """Weights of different nature: dense noise, the identity's corner, one entry, rank one, and a permutation."""
    rng = np.random.default_rng(1)
    shape = (spec.out_features, spec.in_features)
    one = np.zeros(shape)
    one[-1, 0] = 1
    yield rng.standard_normal(shape)
    yield np.eye(*shape)
    yield one
    yield np.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1]))
    yield np.roll(np.eye(*shape), 1, axis=1)


def solve(text, name, target):
    """A layer whose core `name` is fitted, the others random, and how far it is from the target."""
    layer = tnl.build(text, "numpy", dtype="float64", seed=7)
    core = layer.cores[name]
    columns = []
    for k in range(core.size):
        layer.cores[name] = np.eye(1, core.size, k).reshape(core.shape)
        columns.append(layer.to_dense().reshape(-1))
    found = np.linalg.lstsq(np.stack(columns, axis=1), target.reshape(-1), rcond=None)[0]
    layer.cores[name] = found.reshape(core.shape)
    return float(np.linalg.norm(layer.to_dense() - target) / np.linalg.norm(target))


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
@pytest.mark.parametrize("text", UNIVERSAL)
def test_any_weight_at_full_bond(text):
    name, small = UNIVERSAL[text]
    for target in targets(tnl.spec(text)):
        assert solve(text, name, target) < 1e-10
    assert solve(small, name, next(targets(tnl.spec(small)))) > 1e-2  # teeth: one size less does not reach it


def test_every_type_is_universal_or_of_a_structure():
    types = {tnl.spec(text).network for text in UNIVERSAL} | {"blockdiag", "monarch"}
    assert types == {kind.name for kind in tnl.networks.network_types() if kind.source == "built in"}


def test_blockdiag_is_every_block_diagonal_weight():
    layer = tnl.build("blockdiag(in=3x4, out=3x2)", "numpy", dtype="float64", seed=0)
    target = np.zeros((3, 2, 3, 4))
    for b in range(3):
        target[b, :, b] = np.random.default_rng(b).standard_normal((2, 4))
    layer.cores["core"] = np.einsum("bobi->bio", target)
    assert np.array_equal(layer.to_dense(), target.reshape(6, 12))


def test_monarch_is_every_weight_whose_blocks_have_rank_1():
    k, i, o, m = 3, 4, 5, 2
    layer = tnl.build(f"monarch(in={k}x{i}, out={o}x{m})", "numpy", dtype="float64", seed=0)
    target = np.empty((o, m, k, i))
    for a in range(m):
        for b in range(k):
            rng = np.random.default_rng([a, b])
            target[:, a, b] = np.outer(rng.standard_normal(o), rng.standard_normal(i))
            u, s, v = np.linalg.svd(target[:, a, b])
            layer.cores["second"][a, b] = u[:, 0]
            layer.cores["first"][b, :, a] = s[0] * v[0]
    assert np.abs(layer.to_dense() - target.reshape(o * m, k * i)).max() < 1e-14
    assert prod(target.shape) > layer.spec.parameters  # no universal type
