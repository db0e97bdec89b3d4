"""Decompositions that look at the inputs: the known optimum where there is one, and smaller output errors elsewhere."""

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_weight
from tnlayers_backends.torch.layers.moments import conv_moment, linear_moment
from tnlayers_backends.torch.run.primitives import OPS
from torch import nn

import tnlayers as tnl
from tnlayers.compress import decompose
from tnlayers.decompose.whitening import RIDGE, whiten

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.errors.TNLayersWarning")


def weight_and_moment(out_features=24, in_features=36, *, kind="float64", samples=200):
    """A random weight, and the second moment of inputs that vary much more in some directions than in others."""
    rng = np.random.default_rng(0)

    def drawn(*shape):
        real = rng.standard_normal(shape)
        return real + 1j * rng.standard_normal(shape) if kind == "complex128" else real

    x = drawn(samples, in_features) * np.exp(-np.arange(in_features) / 8)
    x = x @ np.linalg.qr(drawn(in_features, in_features))[0]
    return drawn(out_features, in_features), x.T @ x.conj() / samples


def output_error(weight, found, moment):
    """From the definition, E||(W - W') x||^2 over E||W x||^2."""
    wrong = weight - oracle_weight(found.spec, list(found.cores.values())).value
    squares = [np.trace(matrix @ moment @ matrix.conj().T).real for matrix in (wrong, weight)]
    return float(np.sqrt(squares[0] / squares[1]))


def least_output_error(weight, moment, rank):
    """The optimum over all matrices of a rank: the singular values of W C^(1/2) that are left out."""
    values, vectors = np.linalg.eigh(moment)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.conj().T
    s = np.linalg.svd(weight @ root, compute_uv=False)
    return float(np.sqrt((s[rank:] ** 2).sum() / (s**2).sum()))


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("rank", [1, 4, 9])
@pytest.mark.parametrize("network", ["lowrank", "lowrank(in=6x6, out=4x6)"])
def test_low_rank_is_the_known_optimum(kind, rank, network):
    weight, moment = weight_and_moment(kind=kind)
    found = decompose(weight, network, bond_dim=rank, covariance=moment)
    ridge = moment + RIDGE * np.trace(moment).real / len(moment) * np.eye(len(moment))
    least = least_output_error(weight, ridge, rank)
    assert output_error(weight, found, ridge) == pytest.approx(least, rel=1e-9)
    assert found.output_error == pytest.approx(output_error(weight, found, moment), rel=1e-9)
    plain = decompose(weight, network, bond_dim=rank)
    assert output_error(weight, plain, moment) > least * 1.05  # the comparison can fail
    assert plain.error < found.error
    assert plain.output_error is None


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("mpo(cores=2)", 6),
        ("mpo(cores=3)", 5),
        ("tree(cores=3)", 4),
        ("tucker", 3),
        ("kronecker", 4),
        ("ring(cores=3)", 3),
        ("cp(cores=2)", 8),
        ("blockdiag", 3),
        ("monarch", 3),
        ("mpo(in=4x10, out=4x6, pad_in=4)", 6),
    ],
)
def test_outputs_are_closer_than_without_a_sample(network, size):
    weight, moment = weight_and_moment()
    aware = decompose(weight, network, bond_dim=size, covariance=moment)
    plain = decompose(weight, network, bond_dim=size)
    assert aware.parameters == plain.parameters
    assert aware.output_error == pytest.approx(output_error(weight, aware, moment), rel=1e-6)
    assert aware.output_error < 0.8 * output_error(weight, plain, moment)


def test_a_product_of_moments_needs_no_fitting():
    """Where C is a product over the modes, the SVDs of the whitened weight are exact and cannot be improved."""
    weight, _ = weight_and_moment()
    moment = np.kron(weight_and_moment(4, 6)[1], weight_and_moment(6, 6)[1])
    aware = decompose(weight, "mpo(in=6x6, out=4x6, bond=5)", covariance=moment, sweeps=0)
    fitted = decompose(weight, "mpo(in=6x6, out=4x6, bond=5)", covariance=moment, sweeps=30)
    assert aware.output_error == pytest.approx(fitted.output_error, rel=1e-4)


def test_coordinates_there_and_back():
    _, moment = weight_and_moment()
    layer = tnl.build("mpo(in=3x3x4, out=2x3x4, bond=4)", backend="torch", dtype="float64")
    cores = [core.detach() for core in layer.cores.values()]
    whitening = whiten(OPS, layer.spec.graph, torch.from_numpy(moment + np.eye(36)))
    for core, again in zip(cores, whitening.back(OPS, whitening.forth(OPS, cores)), strict=True):
        torch.testing.assert_close(core, again)


@pytest.mark.parametrize("network", ["lowrank", "mpo(cores=2)", "mpo(cores=3)", "ring(cores=2)"])
@pytest.mark.parametrize("error", [0.4, 0.1])
def test_output_errors_are_met(network, error):
    weight, moment = weight_and_moment()
    found = decompose(weight, network, error=error, error_of="output", covariance=moment)
    assert output_error(weight, found, moment) <= error
    assert found.parameters < decompose(weight, network, error=error).parameters
    assert found.asked == f"error={error}"


def test_a_weight_error_with_a_sample_is_met():
    weight, moment = weight_and_moment()
    found = decompose(weight, "mpo(cores=2)", error=0.5, covariance=moment)
    assert found.error <= 0.5


@pytest.mark.parametrize("network", ["lowrank", "mpo(cores=2)", "mpo(cores=3)"])
def test_few_samples_and_full_bonds(network):
    weight, moment = weight_and_moment(samples=5)  # of rank 5 in 36 directions
    small = decompose(weight, network, bond_dim=5, covariance=moment)
    assert all(np.isfinite(core).all() for core in small.cores.values())
    assert small.output_error < 0.05
    assert decompose(weight, network, error=0, covariance=moment).error < 1e-9


def test_moments_of_vectors_are_summed_by_batches():
    torch.manual_seed(0)
    x = torch.randn(7, 5, 6)
    expected = np.einsum("abi,abj->ij", x.numpy().astype(float), x.numpy().astype(float)) / 35
    assert_close(linear_moment(x, 6), expected, dtype="float64", terms=35)
    assert_close(linear_moment(iter(x), 6), expected, dtype="float64", terms=35)


CONVOLUTIONS = {
    "2d": (lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2)), (6, 7)),
    "reflect": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (5, 4)),
    "grouped": (lambda: nn.Conv2d(4, 4, 2, groups=2), (4, 5)),
    "1d-same": (lambda: nn.Conv1d(3, 4, 3, padding="same"), (9,)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_moments_of_patches_by_the_convolutions_own_outputs(case):
    """sum |y|^2 over all outputs is tr(K C K^T) for any kernel K: here for random ones, torch convolving."""
    torch.manual_seed(0)
    make, size = CONVOLUTIONS[case]
    dense = make().double()
    x = torch.randn(3, dense.in_channels, *size, dtype=torch.float64)
    moment = tnl_moment(dense, x)
    with torch.no_grad():
        dense.bias.zero_()
        own = dense.out_channels // dense.groups
        dense.weight[:] = dense.weight[:own].repeat(dense.groups, *[1] * (dense.weight.ndim - 1))  # the groups alike
        y = dense(x)
        kernel = dense.weight[:own].movedim(1, -1).reshape(own, -1)
        total = float((y**2).sum()) / (y.numel() / dense.out_channels * dense.groups)
    assert float(torch.trace(kernel @ moment @ kernel.mT)) == pytest.approx(total, rel=1e-12)


def tnl_moment(dense, x):
    from tnlayers.declare.window import window

    dims = x.ndim - 2
    moves = window(dims, dense.kernel_size, dense.stride, dense.padding, dense.dilation, dense.padding_mode)
    return conv_moment(x, moves, dense.in_channels, dense.groups)


def measured(layer, dense, x):
    with torch.no_grad():
        bias = dense(torch.zeros_like(x))
        return float(torch.linalg.norm(layer(x) - dense(x)) / torch.linalg.norm(dense(x) - bias))


def test_layers_from_a_sample():
    torch.manual_seed(0)
    x = torch.randn(300, 36, dtype=torch.float64) * torch.linspace(3, 0.01, 36, dtype=torch.float64) ** 3
    dense = nn.Linear(36, 24).double()
    aware = tnl.nn.TNLinear.from_linear(dense, "mpo(cores=2)", ratio=0.4, sample=x)
    plain = tnl.nn.TNLinear.from_linear(dense, "mpo(cores=2)", ratio=0.4)
    assert measured(aware, dense, x) == pytest.approx(aware.delivered.output_error, rel=1e-6)
    assert measured(aware, dense, x) < 0.8 * measured(plain, dense, x)
    assert "of the outputs" in str(aware.delivered)


@pytest.mark.parametrize("view", ["kernel", "flat"])
def test_convolutions_from_a_sample(view):
    torch.manual_seed(0)
    x = torch.randn(300, 4, 6, 6, dtype=torch.float64).cumsum(-1).cumsum(-2)  # neighbours alike
    dense = nn.Conv2d(4, 8, 3, bias=False).double()
    flat, ratio = ({"view": "flat", "in_size": 6}, 0.1) if view == "flat" else ({}, 0.3)
    aware = tnl.nn.TNConv2d.from_conv(dense, "mpo(cores=2)", ratio=ratio, sample=[x[:20], x[20:]], **flat)
    plain = tnl.nn.TNConv2d.from_conv(dense, "mpo(cores=2)", ratio=ratio, **flat)
    assert measured(aware, dense, x) == pytest.approx(aware.delivered.output_error, rel=1e-4)
    assert measured(aware, dense, x) < 0.8 * measured(plain, dense, x)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda w, c: decompose(w, ratio=0.5, covariance=c[:3]), r"covariance has shape \(3, 36\)"),
        (lambda w, c: decompose(w, ratio=0.5, covariance=c * np.nan), "covariance has entries that are NaN"),
        (lambda w, c: decompose(w, ratio=0.5, covariance=np.triu(c)), "differs from its own adjoint"),
        (lambda w, c: decompose(w, ratio=0.5, covariance=c * 0), "is no second moment"),
        (lambda w, c: decompose(w, error=0.5, error_of="output"), "error_of='output' with covariance=None"),
        (lambda w, c: linear_moment(torch.zeros(3, 4), 5), r"The sample has shape \(3, 4\)"),
        (lambda w, c: linear_moment([], 5), "The sample is empty"),
        (lambda w, c: tnl_moment(nn.Conv2d(3, 4, 2), torch.zeros(2, 4, 5, 5)), r"takes \(batch, 3, \*positions\)"),
        (
            lambda w, c: tnl.nn.TNLinear.from_linear(
                nn.Linear(4, 3), ratio=0.5, sample=torch.ones(3, 4), covariance=torch.eye(4)
            ),
            "given together",
        ),
    ],
)
def test_refusals(ask, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        ask(*weight_and_moment())
