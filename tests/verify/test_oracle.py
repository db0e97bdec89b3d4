"""The comparison has teeth: what is wrong in value, shape, dtype or finiteness fails it."""

import numpy as np
import pytest
from oracle import assert_close, einsum64, oracle_forward, oracle_gradients, oracle_weight
from specs import MARKET

import tnlayers as tnl


@pytest.fixture
def case():
    spec = tnl.spec(MARKET["mpo-4"])
    layer = tnl.build(spec, backend="numpy", seed=3)
    x = np.random.default_rng(0).standard_normal((5, spec.in_features)).astype(np.float32)
    return spec, layer, x


def test_the_right_answer_passes(case):
    spec, layer, x = case
    assert_close(layer(x), oracle_forward(spec, layer.cores.values(), x), dtype="float32")


@pytest.mark.parametrize("name", ["core_0", "core_1", "core_2", "core_3"])
def test_a_perturbed_core_fails(case, name):
    spec, layer, x = case
    expected = oracle_forward(spec, list(layer.cores.values()), x)
    layer.cores[name] = layer.cores[name] * np.float32(1.001)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer(x), expected, dtype="float32")


def test_one_wrong_entry_of_a_core_fails(case):
    spec, layer, _ = case
    expected = oracle_weight(spec, [core.copy() for core in layer.cores.values()])
    layer.cores["core_2"][0, 0, 0, 0] += 0.01
    with pytest.raises(AssertionError, match="off by"):
        assert_close(layer.to_dense(), expected, dtype="float32")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda y: y.astype(np.complex64), "dtype"),
        (lambda y: y[:, :-1], "shape"),
        (lambda y: y.T, "shape"),
        (lambda y: y.astype(np.float64), "dtype"),
        (lambda y: np.where(y == y.max(), np.nan, y), "not finite"),
        (lambda y: np.where(y == y.max(), np.inf, y), "not finite"),
        (lambda y: -y, "off by"),
        (lambda y: y[::-1], "off by"),
    ],
)
def test_wrong_answers_fail(case, wrong, message):
    spec, layer, x = case
    y = layer(x)
    with pytest.raises(AssertionError, match=message):
        assert_close(wrong(y), oracle_forward(spec, layer.cores.values(), x), dtype="float32")


def test_the_oracle_is_the_equation_of_the_paper():
    """W[j1 j2 j3, i1 i2 i3] = w1[i1, j1] w2[i2, j2] w3[i3, j3], written out by hand (arXiv 1904.06194, Eq. 4)."""
    spec = tnl.spec("mpo(in=2x3x2, out=3x2x2, bond=2-3)")
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(shape) for shape in spec.graph.shapes.values())
    expected = np.zeros((12, 12))
    for j in np.ndindex(3, 2, 2):
        for i in np.ndindex(2, 3, 2):
            row, column = (j[0] * 2 + j[1]) * 2 + j[2], (i[0] * 3 + i[1]) * 2 + i[2]
            expected[row, column] = (a[i[0], j[0]] @ b[:, i[1], j[1]] @ c[:, i[2], j[2]]).item()
    assert_close(oracle_weight(spec, [a, b, c]).value, expected, dtype="float64", terms=6)


def test_the_oracle_knows_block_diagonals():
    spec = tnl.spec(MARKET["blocks"])
    core = np.arange(24, dtype=float).reshape(3, 4, 2)
    expected = np.zeros((6, 12))
    for block in range(3):
        expected[2 * block : 2 * block + 2, 4 * block : 4 * block + 4] = core[block].T
    assert_close(oracle_weight(spec, [core]).value, expected, dtype="float64", terms=1)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", ["mpo-3", "traced", "repeated", "blocks", "cp"])
def test_gradients_of_the_oracle_are_finite_differences(name, dtype):
    """The map is linear in each operand, so a difference quotient with step 1 is exact up to rounding."""
    spec = tnl.spec(MARKET[name])
    rng = np.random.default_rng(1)

    def draw(*shape):
        real, imaginary = rng.standard_normal((2, *shape))
        return real + 1j * imaginary if dtype == "complex128" else real

    cores = [draw(*shape) for shape in spec.graph.shapes.values()]
    x, g = draw(3, spec.in_features), draw(3, spec.out_features)
    base = np.sum(oracle_forward(spec, cores, x).value * g)
    for k, gradient in enumerate(oracle_gradients(spec, cores, x, g)[1:-1]):
        numeric = np.zeros(cores[k].shape, dtype)
        for place in np.ndindex(*cores[k].shape):
            changed = [core.copy() for core in cores]
            changed[k][place] += 1.0
            numeric[place] = np.sum(oracle_forward(spec, changed, x).value * g) - base
        assert_close(numeric, gradient.value, dtype=dtype, terms=gradient.terms, scale=abs(base) + gradient.scale)


def test_scale_does_not_shrink_where_terms_cancel():
    expected = einsum64([(np.array([1.0, -1.0]), [0]), (np.array([1.0, 1.0]), [0])], [], terms=2)
    assert (expected.value, expected.scale) == (0.0, np.sqrt(2.0))
