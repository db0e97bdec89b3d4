"""The network types: what each one's weight is by its formula, how many parameters it has, and its defaults."""

import inspect
import warnings
from math import prod

import numpy as np
import pytest
from oracle import assert_close, terms_of

import tnlayers as tnl
from tnlayers.declare.registry import network_type, network_types

BUILT_IN = [
    "blast",
    "block_term",
    "blockdiag",
    "btt",
    "cp",
    "kronecker",
    "lowrank",
    "mera",
    "monarch",
    "mpo",
    "peps",
    "ring",
    "tree",
    "tucker",
]


def einsum(equation):
    """The weight by an equation over the cores in order; its output is the out modes, then the in modes."""
    return lambda *cores: np.einsum(equation, *cores, optimize="greedy")


def kron(*cores):
    """The textbook sum of Kronecker products, from cores of axes (term, inp, out)."""
    total = 0
    for term in zip(*cores, strict=True):
        matrix = np.ones((1, 1))
        for a in term:
            matrix = np.kron(matrix, a.T)
        total = total + matrix
    return total


def block_diagonal(core):
    b, i, o = core.shape
    w = np.zeros((b * o, b * i))
    for k in range(b):
        w[k * o : (k + 1) * o, k * i : (k + 1) * i] = core[k].T
    return w


def monarch(first, second):
    """P L P' R of arXiv 2204.00595: two block-diagonal matrices and two transpositions of a matrix."""
    k, _, m = first.shape
    o = second.shape[2]
    transpose = np.eye(k * m).reshape(k, m, k * m).transpose(1, 0, 2).reshape(k * m, k * m)  # (k, m) -> (m, k)
    last = np.eye(m * o).reshape(m, o, m * o).transpose(1, 0, 2).reshape(m * o, m * o)  # (m, o) -> (o, m)
    return last @ block_diagonal(second) @ transpose @ block_diagonal(first)


def blast(down, scale, up):
    """Block by block U_a diag(s_ab) V_b', as arXiv 2410.21262 writes it."""
    rows = [
        [u @ np.diag(s) @ v.T for s, v in zip(across, down, strict=True)] for u, across in zip(up, scale, strict=True)
    ]
    return np.block(rows)


def ring(*cores):
    """Entry by entry, the trace of a product of matrices."""
    ins, outs = [c.shape[1] for c in cores], [c.shape[2] for c in cores]
    w = np.empty((*outs, *ins))
    for index in np.ndindex(*w.shape):
        product = np.eye(cores[0].shape[0])
        for c, j, i in zip(cores, index, index[len(cores) :], strict=False):
            product = product @ c[:, i, j, :]
        w[index] = np.trace(product)
    return w


FORMULAS = {
    "mpo(in=2x3x2, out=2x2x3, bond=3)": einsum("iap,pjbq,qkc->abcijk"),
    "ring(in=2x3x2, out=2x2x3, bond=2-3-4)": ring,
    "tucker(in=5x4, out=3x6, bond=3-2-3-4)": einsum("pqas,ip,jq,bs->abij"),
    "tucker(in=3x3x8, out=1x1x6, bond=3)": einsum("hwpxyq,cp,dq->xydhwc"),
    "cp(in=2x3, out=4x2, rank=3)": einsum("ir,jr,ar,br->abij"),
    "lowrank(in=12, out=10, rank=3)": einsum("ir,ra->ai"),
    "kronecker(in=3x4x2, out=2x5x2, terms=3)": kron,
    "btt(in=3x4, out=2x5, rank=2)": einsum("cabs,scdb->abcd"),
    "monarch(in=3x4, out=5x2)": monarch,
    "blast(in=3x4, out=2x5, rank=3)": blast,
    "block_term(in=3x4, out=2x3, bond=3, terms=2)": einsum("tpq,tiap,tjbq->abij"),
    "tree(in=2x3x2x2, out=2x2x3x2, bond=3)": einsum("iap,jbq,kcr,ldt,pqs,rts->abcdijkl"),
    "mera(in=2x3x2x2, out=2x2x3x2, bond=3)": einsum("iap,jbq,kcr,ldt,qruv,puy,vty->abcdijkl"),
    "peps(in=2x3x2x2, out=2x2x3x2, bond=2)": einsum("iapq,pjbr,qkcs,rsld->abcdijkl"),
    "blockdiag(in=3x4, out=3x2)": block_diagonal,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_the_weight_is_that_of_the_formula(text):
    spec = tnl.spec(text)
    layer = tnl.build(spec, "numpy", seed=3, dtype="float64")
    expected = FORMULAS[text](*layer.cores.values()).reshape(spec.out_features, spec.in_features)
    assert_close(layer.to_dense(), expected, dtype="float64", terms=terms_of(spec.graph))
    changed = [core * (1.001 if k == 0 else 1) for k, core in enumerate(layer.cores.values())]  # teeth
    with pytest.raises(AssertionError, match="off by"):
        assert_close(
            layer.to_dense(),
            FORMULAS[text](*changed).reshape(spec.out_features, spec.in_features),
            dtype="float64",
            terms=terms_of(spec.graph),
        )


PARAMETERS = {
    "ring(in=4x7x7x4, out=4x4x4x4, bond=5)": 25 * (16 + 28 + 28 + 16),
    "tucker(in=28x28, out=16x16, bond=8)": 8**4 + 8 * (28 + 28 + 16 + 16),
    "tucker(in=3x3x64, out=1x1x128, bond=16)": 3 * 3 * 16 * 16 + 16 * (64 + 128),  # Tucker-2
    "cp(in=3x3x64, out=1x1x128, rank=16)": 16 * (3 + 3 + 64 + 128) + 0,
    "lowrank(in=784, out=256, rank=16)": 16 * (784 + 256),
    "kronecker(in=28x28, out=16x16, terms=4)": 4 * 2 * 28 * 16,
    "btt(in=28x28, out=16x16, rank=2)": 2 * (28 * 16 * 16 + 28 * 28 * 16),
    "btt(in=4x7x5, out=3x4x2, rank=2)": 2 * 4 * 24 + 4 * 4 * 7 * 4 * 2 + 2 * 140 * 2,
    "monarch(in=28x28, out=16x16)": 28 * 28 * 16 + 16 * 28 * 16,
    "blast(in=28x28, out=16x16, rank=5)": 5 * (784 + 256 + 28 * 16),
    "blast(in=1x28, out=1x16, rank=5)": 5 * (28 + 16),
    "block_term(in=7x14x8, out=4x8x8, bond=4, terms=2)": 2 * (4**3 + 4 * (28 + 112 + 64)),
    "tree(in=4x7x7x4, out=4x4x4x4, bond=8)": 8 * (16 + 28 + 28 + 16) + 2 * 8**3,
    "mera(in=4x7x7x4, out=4x4x4x4, bond=4)": 4 * (16 + 28 + 28 + 16) + 2 * 4**3 + 4**4,
    "peps(in=4x7x7x4, out=4x4x4x4, bond=4)": 4**2 * (16 + 28 + 28 + 16),
    "peps(in=2x2x2x2x2, out=2x2x2x2x2, bond=2)": 4 * (4 + 8 + 2 + 4 + 4),  # rows of 3 and 2
    "blockdiag(in=4x196, out=4x64, blocks=4)": 784 * 256 // 4,
}


@pytest.mark.parametrize("text", PARAMETERS)
def test_parameters_are_those_of_the_docstring(text):
    assert tnl.spec(text).parameters == PARAMETERS[text]


def test_the_types_and_their_keywords():
    kinds = {kind.name: kind for kind in network_types() if kind.source == "built in"}
    assert list(kinds) == BUILT_IN
    keywords = {name: set(kind.keywords) for name, kind in kinds.items()}
    for name in ("mpo", "ring", "tucker", "tree", "mera", "peps"):
        assert keywords[name] == {"bond_dim"}
    for name in ("cp", "lowrank", "btt"):
        assert keywords[name] == {"rank"}
    assert (keywords["kronecker"], keywords["block_term"]) == ({"terms"}, {"terms", "bond_dim"})
    assert keywords["blast"] == {"rank", "blocks"}
    assert keywords["monarch"] == keywords["blockdiag"] == {"blocks"}
    assert {name for name, kind in kinds.items() if kind.per_edge} == {"mpo", "ring", "tucker", "cp"}
    for kind in kinds.values():
        assert kind.summary.endswith(".")
        assert "Parameters: " in inspect.getmodule(kind.function).__doc__


@pytest.mark.parametrize("sizes", [(784, 256), (1009, 10), (10, 10), (1, 1), (1, 7), (7, 1), (2, 1), (2, 2), (1, 10)])
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_bare_name_makes_a_layer_of_any_size(name, sizes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)  # padding, where a size has no factors
        spec = tnl.spec(name, *sizes)
    assert (spec.in_features, spec.out_features) == sizes
    assert tnl.spec(str(spec)) == spec
    layer = tnl.build(spec, "numpy", seed=0)
    x = np.ones((2, sizes[0]), np.float32)
    assert_close(layer(x), x @ layer.to_dense().T, dtype="float32", terms=sum(map(prod, spec.graph.shapes.values())))
    if sizes == (784, 256):
        assert spec.rho <= 0.25


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cp(in=2x3x2, out=2x4, rank=50)", "cp(in=2x3x2, out=2x4, rank=24)"),  # 2*3*2*2*4 over the largest mode
        ("lowrank(in=6, out=4, rank=9)", "lowrank(in=6, out=4, rank=4)"),
        ("kronecker(in=3x4, out=2x5, terms=9)", "kronecker(in=3x4, out=2x5, terms=6)"),
        ("kronecker(in=2x2x2, out=2x2x2, terms=99)", "kronecker(in=2x2x2, out=2x2x2, terms=32)"),
        ("btt(in=3x4, out=2x5, rank=9)", "btt(in=3x4, out=2x5, rank=2)"),  # blocks of 2 x 4
        ("block_term(in=3x4, out=2x3, bond=99, terms=2)", "block_term(in=3x4, out=2x3, bond=6, terms=2)"),
        ("block_term(in=3x4, out=2x3, bond=2, terms=99)", "block_term(in=3x4, out=2x3, bond=2, terms=18)"),
        ("tree(in=2x3x2, out=2x2x3, bond=99)", "tree(in=2x3x2, out=2x2x3, bond=6)"),
        ("mera(in=2x2, out=2x3, bond=99)", "mera(in=2x2, out=2x3, bond=4)"),
        ("peps(in=2x3, out=2x2, bond=99)", "peps(in=2x3, out=2x2, bond=4)"),
        ("tucker(in=100, out=5, bond=16)", "tucker(in=100, out=5, bond=5)"),
        ("tucker(in=300x200, out=2, bond=2-16-2)", "tucker(in=300x200, out=2, bond=2-4-2)"),
        ("mpo(in=4x7x7x4, out=4x4x4x4, bond=18)", "mpo(in=4x7x7x4, out=4x4x4x4, bond=16-18-16)"),
    ],
)
def test_clipped_sizes_are_shown(text, shown):
    with pytest.warns(tnl.TNLayersWarning, match="exact maximum"):
        spec = tnl.spec(text)
    assert str(spec) == shown
    assert tnl.spec(shown) == spec


def test_tucker_takes_one_bond_per_mode_and_keeps_small_modes_on_its_core():
    spec = tnl.spec("tucker(in=3x3x64, out=1x1x128, bond=3-3-16-20)")
    assert spec.graph.shapes == {"core": (3, 3, 16, 1, 1, 20), "in_2": (64, 16), "out_2": (128, 20)}
    assert spec.bond_dim == (3, 3, 16, 20)
    all_cut = tnl.spec("tucker(in=3x3x64, out=1x1x128, bond=2)").graph.shapes
    assert all_cut["in_0"] == (3, 1, 1, 2)  # both modes of 1 hang on the first factor: the core has no mode
    assert list(all_cut) == ["core", "in_0", "in_1", "in_2", "out_2"]


def test_a_number_too_large_for_some_bonds_only_is_noted_without_a_warning():
    spec = tnl.spec("tree(in=2x3x2, out=2x2x3, bond=6)")
    assert spec.notes[0] == "bond leaf_0 - node_0_1 clipped from 6 to 4, its exact maximum"


def test_monarch_is_btt_of_two_cores_and_rank_1():
    monarch = tnl.build("monarch(in=3x4, out=5x2)", "numpy", seed=0, dtype="float64")
    btt = tnl.build("btt(in=3x4, out=5x2, rank=1)", "numpy", seed=0, dtype="float64")
    assert monarch.spec.parameters == btt.spec.parameters
    first, second = monarch.cores.values()
    btt.cores["core_0"] = second.transpose(1, 2, 0)[..., None]
    btt.cores["core_1"] = first[None]
    assert_close(btt.to_dense(), monarch.to_dense(), dtype="float64", terms=50)


def test_blast_with_scales_of_one_is_low_rank():
    layer = tnl.build("blast(in=3x4, out=2x5, rank=3)", "numpy", seed=0, dtype="float64")
    layer.cores["scale"][...] = 1.0
    down, _, up = layer.cores.values()
    assert_close(layer.to_dense(), up.reshape(10, 3) @ down.reshape(12, 3).T, dtype="float64", terms=3)


def test_sizes_are_split_by_the_type_where_it_says_how():
    assert str(tnl.spec("blockdiag(blocks=4)", 28, 20)) == "blockdiag(in=4x7, out=4x5, blocks=4)"
    assert tnl.spec("blockdiag", 12, 18).in_modes == (3, 4)  # 3 is the largest common divisor up to 4
    with pytest.warns(tnl.TNLayersWarning, match="10 in 4 blocks: padded by 2 to 12"):
        spec = tnl.spec("monarch(blocks=4)", 28, 10)
    assert (spec.in_modes, spec.out_modes, spec.pad_out) == ((4, 7), (3, 4), 2)
    assert str(tnl.spec("blast(blocks=8, rank=3)", 784, 256)) == "blast(in=8x98, out=8x32, blocks=8, rank=3)"
    assert tnl.spec("blast", 128, 65).modes == ((4, 32), (5, 13))  # the divisors nearest to 4
    assert network_type("mpo").split is None


WRONG = {
    **{
        f"{name}(in=4x7x2, out=2x5)": ["(4, 7, 2) has 3", "(2, 5) has 2", f"{name} takes one of each", "with 1s"]
        for name in ("mpo", "ring", "kronecker", "btt", "block_term", "tree", "mera", "peps")
    },
    "ring(in=4x7x2, out=2x5x2, bond=2-3)": ["2 bonds", "3 cores in a ring have 3"],
    "tucker(in=4x7, out=2x1, bond=2-3)": ["2 bonds", "3 modes are larger than 1", "Give one number for all, or 3"],
    "cp(in=4x7, out=2x5, rank=2-3)": ["rank (2, 3) gives 2", "cp has 1 hyperedge"],
    "tree(in=4x7, out=2x5, bond=2-3)": ["bond=2-3", "one number"],
    "lowrank(in=4, out=5, bond=3)": ["'lowrank' has no keyword 'bond_dim'", "rank"],
    "kronecker(in=4x7, out=2x5, terms=0)": ["terms=0", "at least 1"],
    "block_term(in=4x7, out=2x5, terms=two)": ["terms='two'"],
    "btt(in=4x7, out=2x5, rank=-1)": ["rank=-1", "at least 1"],
    "monarch(in=28, out=20)": ["(28,)", "(20,)", "two of each", "monarch(in=4x7, out=5x4)"],
    "monarch(in=4x7, out=5x3, blocks=4)": ["blocks=4", "begin with 4", "end with 3", "in=4x7 and out=5x4"],
    "blast(in=28, out=20)": ["(28,)", "(20,)", "two of each", "blast(in=4x7, out=5x4)"],
    "blast(in=4x7, out=5x4, blocks=4)": ["blocks=4", "begin with 4", "with 5", "in=4x7 and out=4x4"],
    "blockdiag(in=4x7, out=5x4)": ["begin with 4", "(5, 4) with 5"],
    "blockdiag(in=4x7, out=4x5, blocks=2)": ["blocks=2", "begin with 4", "blockdiag(in=2x7, out=2x5)"],
    "mera(in=4x1x7, out=2x1x5)": ["'leaf_1'", "all 1 (1 x 1)"],
}
WRONG_SIZES = {
    ("blockdiag(blocks=3)", 28, 20): ["blocks=3", "28 inputs and 20 outputs", "1, 2, 4."],
    ("monarch(blocks=64)", 784, 10): ["blocks=64", "784 inputs and 10 outputs", "at most 10"],
    ("blast(blocks=64)", 784, 10): ["blocks=64", "784 inputs and 10 outputs", "at most 10"],
    ("monarch(cores=3)", 784, 256): ["cores=3", "fixed number of cores"],
    ("blockdiag", 0, 10): ["=0 "],
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_declarations_are_refused_with_their_numbers(text):
    with pytest.raises(tnl.TNLayersError) as caught:
        tnl.spec(text)
    for part in WRONG[text]:
        assert part in str(caught.value)


@pytest.mark.parametrize("asked", WRONG_SIZES)
def test_wrong_sizes_are_refused_with_their_numbers(asked):
    with pytest.raises(tnl.TNLayersError) as caught:
        tnl.spec(*asked)
    for part in WRONG_SIZES[asked]:
        assert part in str(caught.value)
