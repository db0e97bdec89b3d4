"""`from_einsum` takes what `numpy.einsum` takes: opt_einsum's own equations, more by hand, and random ones."""

import ast
import importlib.util
import re
from math import prod
from pathlib import Path

import numpy as np
import pytest
from absent import framework
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close

import tnlayers as tnl

torch = framework("torch")

BY_HAND = """
->; ,->; i->; i->i; ii->; ii->i; iii->i; iij->j; iij->ij; iijj->ij; iijj->; ij->ji; ijk->kij; ij->; ij->j;
i,i->; i,j->ij; i,j->ji; i,i->i; i,ij->j; ij,jk->ik; ij,kj->ki; ij,jk->; ij,kl->; ij,kl->ik; ij,ij->; ij,ji->;
ab,cd->dbca; bi,bij->bj; bij,bjk->bik; bij,bjk->kbi; bij,bkj->ibk; ab,bc,cd->ad; ab,bc,ca->; ab,bc,ca->abc;
ar,br,cr->abc; r,ar,br->ab; ar,br,r->; abc,cd,def->; abc,abd,abe->abcde; aab,bcc->; aab,bcc->ac; aabb,bc->c;
ii,jj->; ii,jj->ij; ii,ij,jj->; iij,jkk->ik; i,,j->ij; ,i->i; ij,,jk->ik; abc,cba; ba; ab,bc; a,b,c; ii; iij;
...->...; ...i->...; ...i->i...; ...ij,...jk->...ik; ij...,jk...->ik...; ...a,...a->...; ...a,ab->...b;
a...,a...->...; ...,...; i...,...->i...; ...ii->...i; ...i,i; ij...; b...i,...ij->b...j
""".replace("\n", ";")
HAND_EQUATIONS = [e.strip() for e in BY_HAND.split(";") if e.strip()]

_EQUATION = re.compile(r"[A-Za-z.,]*(->[A-Za-z.]*)?")


def _lists_of_opt_einsum():
    """Every list of equations in opt_einsum's installed tests, read without running them."""
    spec = importlib.util.find_spec("opt_einsum")
    folder = Path(spec.origin).parent / "tests"
    found = []
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return sorted({text for text in found if ("," in text or "->" in text) and _EQUATION.fullmatch(text)})


def shapes_of(equation, seed=0, ellipsis=(2, 3)):
    """Sizes by letter: small, different, some of them 1."""
    size = {letter: (2, 3, 4, 1, 2, 3)[(ord(letter) + seed) % 6] for letter in set(equation) if letter.isalpha()}
    shapes = []
    for part in equation.split("->")[0].split(","):
        before, dots, after = part.partition("...")
        middle = ellipsis if dots else ()
        shapes.append((*(size[c] for c in before), *middle, *(size[c] for c in after)))
    return shapes


def check(equation, shapes, optimize="auto"):
    rng = np.random.default_rng(0)
    operands = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    expected = np.asarray(np.einsum(equation, *operands))
    scale = float(np.sqrt(np.max(np.einsum(equation, *(a**2 for a in operands)), initial=0.0)))
    terms = 4 * max(1, sum(prod(shape) for shape in shapes))
    planned = tnl.from_einsum(equation, shapes, optimize=optimize)
    assert_close(planned(*operands), expected, dtype="float64", terms=terms, scale=scale)
    assert_close(planned(*map(torch.from_numpy, operands)), expected, dtype="float64", terms=terms, scale=scale)


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("equation", HAND_EQUATIONS)
def test_by_hand(equation, seed):
    check(equation, shapes_of(equation, seed))


def test_equations_of_opt_einsum():
    equations = _lists_of_opt_einsum()
    taken = 0
    for equation in equations:
        shapes = shapes_of(equation)
        try:
            np.einsum(equation, *(np.ones(shape) for shape in shapes))
        except ValueError:  # one that their tests expect to be refused
            with pytest.raises(tnl.TNLayersError):
                tnl.from_einsum(equation, shapes)
            continue
        check(equation, shapes)
        taken += 1
    if not equations:
        pytest.skip("this opt_einsum was installed without its tests")
    assert taken > 130


@pytest.mark.parametrize("optimize", ["optimal", "greedy", "dp", "branch-1", "random-greedy"])
@pytest.mark.parametrize("equation", ["ab,bc,cd->ad", "aab,bcc,cd->", "ar,br,cr,r->abc", "ij,kl,m->", "ab,bc,ca,ad->d"])
def test_every_optimizer(equation, optimize):
    check(equation, shapes_of(equation), optimize)


def test_a_path_by_hand():
    check("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], [(1, 2), (0, 1)])


@st.composite
def equations(draw):
    letters = "abcdef"[: draw(st.integers(1, 6))]
    sizes = {c: draw(st.integers(1, 3)) for c in letters}
    parts = draw(st.lists(st.text(letters, max_size=4), min_size=1, max_size=4))
    shapes = []
    for part in parts:
        narrow = {c for c in part if draw(st.integers(0, 9)) == 0 and part.count(c) == 1}  # broadcasts
        shapes.append(tuple(1 if c in narrow else sizes[c] for c in part))
    known = sorted(set("".join(parts)))
    output = "".join(draw(st.permutations(known))[: draw(st.integers(0, len(known)))])
    return (",".join(parts) + "->" + output if draw(st.integers(0, 4)) else ",".join(parts)), shapes


@settings(max_examples=150)
@given(equations())
def test_random_equations(case):
    check(*case)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(0, 3), (3, 4)]),
        ("ij,jk->ik", [(2, 0), (0, 4)]),
        ("ij,jk,kl->il", [(2, 0), (0, 4), (4, 3)]),
        ("ij->", [(0, 3)]),
        ("ij->i", [(2, 0)]),
        ("...ij,...jk->...ik", [(1, 2, 3), (5, 3, 4)]),
        ("...ij,...jk->...ik", [(7, 1, 2, 3), (5, 3, 4)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        (" ij, jk -> ik ", [(2, 3), (3, 4)]),
        ("AB,BC->AC", [(2, 3), (3, 4)]),
    ],
)
def test_sizes_0_and_1_broadcasting_and_spaces(equation, shapes):
    check(equation, shapes)


def test_dtypes_stay():
    for dtype in (np.int32, np.int64, np.float32, np.complex64):
        x, y = np.arange(6, dtype=dtype).reshape(2, 3), np.ones((3, 2), dtype)
        for equation, operands in (("ij->i", (x,)), ("ij,jk->ik", (x, y)), ("ij->ji", (x,))):
            f = tnl.from_einsum(equation, [o.shape for o in operands])
            expected = np.einsum(equation, *operands)
            assert f(*operands).dtype == expected.dtype
            assert np.array_equal(f(*operands), expected)
            assert np.array_equal(f(*map(torch.from_numpy, operands)).numpy(), expected)


def test_gradients_flow():
    f = tnl.from_einsum("ab,bc,ca,a->c", [(2, 3), (3, 4), (4, 2), (2,)])
    operands = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in f.shapes]
    assert torch.autograd.gradcheck(f, operands)


@pytest.mark.parametrize(
    ("equation", "shapes", "parts"),
    [
        ("ij,jk->ik", [(2, 3)], ["'ij,jk->ik'"]),
        ("ij,jk->ik", [(2, 3), (4, 5)], ["'j'", "3", "4"]),
        ("ij->ik", [(2, 3)], ["k"]),
        ("ij->ii", [(2, 3)], ["i"]),
        ("ij", [(2, 3, 4)], ["'ij'", "3"]),
        ("ii->i", [(1, 3)], ["'ii->i'"]),
        ("i->j->k", [(2,)], ["i->j->k"]),
        ("", [], ["''"]),
        (3, [(2,)], ["3"]),
        ("ij->i", 5, ["5"]),
        ("ij->i", [("a", "b")], ["'a'"]),
        ("ij->i", [(2, -1)], ["-1"]),
    ],
)
def test_wrong_equations(equation, shapes, parts):
    with pytest.raises(tnl.TNLayersError) as caught:
        tnl.from_einsum(equation, shapes)
    for part in parts:
        assert part in str(caught.value)


def test_wrong_operands():
    f = tnl.from_einsum("ij,jk->ik", [(2, 3), (3, 4)])
    for operands in ([np.ones((2, 3))], [np.ones((2, 3)), np.ones((3, 5))], []):
        with pytest.raises(tnl.TNLayersError, match=r"planned for operands of shapes \(\(2, 3\), \(3, 4\)\)"):
            f(*operands)
    with pytest.raises(tnl.TNLayersError, match=r"pass arrays of .*numpy"):
        f(_Odd((2, 3)), _Odd((3, 4)))


class _Odd:
    def __init__(self, shape):
        self.shape = shape
