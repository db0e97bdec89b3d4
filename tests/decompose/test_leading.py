"""What a bond keeps of a matrix: as close as by a whole SVD, from the eigenvectors of a square."""

import numpy as np
import pytest
import torch

from tnlayers.backends import backend
from tnlayers.compress import decompose
from tnlayers.decompose.singular_vectors import leading

SIZES = (60, 70)


def drawn(kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "low rank":
        return rng.standard_normal((SIZES[0], 5)) @ rng.standard_normal((5, SIZES[1]))
    if kind == "complex":
        return drawn("flat") + 1j * drawn("flat", 1)
    if kind == "zero":
        return np.zeros(SIZES)
    flat = rng.standard_normal(SIZES)
    return flat if kind == "flat" else flat * 0.97 ** np.arange(SIZES[1])


def parts(matrix, count):
    return leading(backend("numpy").ops, matrix, count)


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("kind", ["flat", "decaying", "complex", "low rank", "zero"])
def test_as_close_as_the_whole_decomposition(kind, tall):
    matrix = drawn(kind).T if tall else drawn(kind)
    u, rest, left_out = parts(matrix, 8)
    assert (u.shape, rest.shape) == ((matrix.shape[0], 8), (8, matrix.shape[1]))
    np.testing.assert_allclose(u.conj().T @ u, np.eye(8), atol=1e-13)
    wrong = np.linalg.norm(matrix - u @ rest)
    assert wrong == pytest.approx(np.sqrt(left_out), rel=1e-12, abs=1e-300)  # measured, no estimate
    least = np.linalg.norm(np.linalg.svd(matrix, compute_uv=False)[8:])
    assert wrong <= least * (1 + 1e-12) + 1e-14 * np.linalg.norm(matrix)


def test_a_cut_of_everything_leaves_nothing_out():
    for matrix in (drawn("decaying")[:20], drawn("decaying")[:, :20], np.zeros((3, 4))):
        u, rest, left_out = parts(matrix, 20)
        assert left_out == 0.0
        np.testing.assert_allclose(u @ rest, matrix, atol=1e-13)


@pytest.mark.parametrize("tall", [False, True])
def test_where_the_square_knows_too_little_the_svd_decides(monkeypatch, tall):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((60, 60)))[0] for _ in range(2))
    values = 10.0 ** -np.arange(60)  # a square in double precision knows eight of these
    matrix = (left * values @ right)[:, : 55 if tall else 60]
    least = np.linalg.norm(np.linalg.svd(matrix, compute_uv=False)[10:])
    assert parts(matrix, 10)[2] ** 0.5 <= least * (1 + 1e-4)
    monkeypatch.setattr(np, "finfo", lambda _: type("None", (), {"eps": 0.0}))
    assert parts(matrix, 10)[2] ** 0.5 > least * 1.1  # and the comparison sees it where it does not


@pytest.mark.parametrize("network", ["lowrank", "mpo(in=7x10, out=6x10)"])
def test_decompositions_keep_their_promise(network):
    matrix = drawn("decaying")
    found = decompose(matrix, network, bond_dim=6)
    assert found.error <= np.sqrt(found.discarded) * (1 + 1e-9)
    twin = decompose(torch.from_numpy(matrix), network, bond_dim=6)
    assert twin.error == pytest.approx(found.error, rel=1e-9)
    exact = decompose(drawn("low rank"), "lowrank", bond_dim=5)
    assert exact.error < 1e-14
