"""Convolutions and embeddings from dense ones: exact at full bond whatever they do at the edges; budgets met."""

import warnings

import pytest
import torch
from oracle import Expected, assert_close
from torch import nn

import tnlayers as tnl

PAIRS = {
    nn.Conv1d: tnl.nn.TNConv1d,
    nn.Conv2d: tnl.nn.TNConv2d,
    nn.Conv3d: tnl.nn.TNConv3d,
}
SIZES = {nn.Conv1d: (17,), nn.Conv2d: (11, 9), nn.Conv3d: (5, 6, 7)}

# One row per way in which a convolution can differ, odd shapes among them.
CASES = {
    "1d": lambda: nn.Conv1d(6, 10, 5, padding=2),
    "1d-same": lambda: nn.Conv1d(4, 6, 3, padding="same", dilation=2),
    "1d-prime": lambda: nn.Conv1d(7, 13, 3, stride=2, bias=False),
    "2d": lambda: nn.Conv2d(6, 8, 3),
    "strided": lambda: nn.Conv2d(4, 6, 3, stride=(2, 1), padding=1),
    "dilated": lambda: nn.Conv2d(4, 6, (3, 2), dilation=(2, 3)),
    "reflect": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="circular"),
    "replicate": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate"),
    "grouped": lambda: nn.Conv2d(6, 12, 3, groups=3),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "multiplied": lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False),
    "pointwise": lambda: nn.Conv2d(8, 12, 1),
    "one-channel": lambda: nn.Conv2d(1, 6, 5, padding=2),
    "3d": lambda: nn.Conv3d(4, 6, (1, 3, 2), stride=(1, 2, 1)),
    "3d-grouped": lambda: nn.Conv3d(4, 6, 3, groups=2, padding="same"),
}
NETWORKS = ("mpo(cores=2)", "tree(cores=2)", "tucker", "lowrank")


def dense_of(case, dtype=torch.float64):
    torch.manual_seed(0)
    return CASES[case]().to(dtype)


def batch_for(dense):
    torch.manual_seed(1)
    return torch.randn(2, dense.in_channels, *SIZES[type(dense)], dtype=dense.weight.dtype)


def converted(dense, network="mpo(cores=2)", **asked):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        return PAIRS[type(dense)].from_conv(dense, network, **asked)


def assert_same(layer, dense, x):
    """The two outputs, to the rounding of a sum over the kernel that went through one SVD per bond."""
    expected = dense(x).detach().numpy()
    scale = float(dense.weight.detach().abs().sum(tuple(range(1, dense.weight.ndim))).max() * x.abs().max())
    terms = dense.weight[0].numel() * len(layer.spec.shapes)
    assert_close(layer(x), Expected(expected, scale, terms), dtype=str(x.dtype).removeprefix("torch."))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_full_bond_is_the_dense_convolution(case, network):
    dense = dense_of(case)
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    layer = converted(dense, network, error=0)
    assert type(layer) is PAIRS[type(dense)]
    assert_same(layer, dense, batch_for(dense))
    assert layer.delivered.error < 1e-12
    for name in ("stride", "padding", "padding_mode", "dilation", "groups", "kernel_size"):
        assert getattr(layer, name) == getattr(dense, name), name
    assert (layer.bias is None) == (dense.bias is None)
    assert all(torch.equal(before[name], value) for name, value in dense.state_dict().items())


def test_the_comparison_sees_another_kernel():
    dense = dense_of("grouped")
    layer = converted(dense, error=0)
    with torch.no_grad():
        dense.weight[0, 0, 0, 0] += 1e-6
    with pytest.raises(AssertionError, match="off by"):
        assert_same(layer, dense, batch_for(dense))


@pytest.mark.parametrize("case", CASES)
def test_budgets_of_kernels_are_met(case):
    dense = dense_of(case)
    limit = dense.weight.numel() * 3 // 4
    layer = converted(dense, max_params=limit)
    cores = sum(core.numel() for core in layer.cores.values())
    assert cores == layer.delivered.parameters <= limit
    wrong = torch.linalg.norm(layer.weight - dense.weight) / torch.linalg.norm(dense.weight)
    assert layer.delivered.error == pytest.approx(float(wrong.detach()), abs=1e-12)


def test_half_precision_and_devices_are_kept():
    dense = dense_of("2d", torch.bfloat16)
    layer = converted(dense, ratio=0.5)
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}


def test_a_convolution_as_one_matrix():
    torch.manual_seed(0)
    dense = nn.Conv2d(2, 3, 3, stride=(2, 1), padding=1, dilation=(1, 2)).double()
    layer = converted(dense, "lowrank", error=0, view="flat", in_size=(6, 5))
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64)
    assert_same(layer, dense, x)
    assert layer.view == "flat"


@pytest.mark.parametrize("padding_idx", [None, 3])
def test_full_bond_is_the_dense_embedding(padding_idx):
    torch.manual_seed(0)
    dense = nn.Embedding(31, 12, padding_idx).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        layer = tnl.nn.TNEmbedding.from_embedding(dense, error=0, cores=2)
    ids = torch.arange(31).reshape(31, 1)
    expected = dense(ids).detach().numpy()
    assert_close(layer(ids), expected, dtype="float64", terms=31 * 12)
    assert layer.padding_idx == padding_idx
    assert layer.spec.shapes.keys() == layer.state_dict().keys()


def test_a_padding_row_that_is_not_zero_is_told():
    dense = nn.Embedding.from_pretrained(torch.ones(8, 4), padding_idx=0)
    with pytest.warns(tnl.TNLayersWarning, match="Row 0 of this embedding is its padding_idx but not zero"):
        layer = tnl.nn.TNEmbedding.from_embedding(dense, bond_dim=2, cores=2)
    assert not layer(torch.tensor(0)).any()


def test_embeddings_meet_budgets():
    torch.manual_seed(0)
    layer = tnl.nn.TNEmbedding.from_embedding(nn.Embedding(500, 64), "mpo(cores=3)", ratio=0.2)
    assert 0.98 * 6400 <= layer.delivered.parameters <= 6400


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: converted(nn.Conv2d(4, 6, 3)), "exactly one of bond_dim=, max_params="),
        (lambda: converted(nn.Conv2d(4, 6, 3), ratio=0.5, error=0.1), "ratio=0.5, error=0.1 were given together"),
        (lambda: tnl.nn.TNConv2d.from_conv(nn.Conv1d(4, 6, 3), error=0), "takes an nn.Conv2d, got a Conv1d"),
        (lambda: converted(nn.Conv2d(4, 4, 3, groups=2), error=0, view="flat", in_size=5), "groups=2"),
        (lambda: converted(nn.Conv2d(4, 6, 3), error=0, view="flat"), "needs in_size"),
        (lambda: converted(nn.Conv2d(4, 6, 3), "mpo(cores=2)", max_params=3), "3 were allowed"),
        (lambda: tnl.nn.TNEmbedding.from_embedding(nn.Linear(3, 4), error=0), "takes an nn.Embedding, got a Linear"),
        (lambda: tnl.nn.TNEmbedding.from_embedding(nn.Embedding(9, 4, max_norm=1.0), error=0), "max_norm=1.0 is not"),
        (lambda: tnl.nn.TNEmbedding.from_embedding(nn.Embedding(9, 4)), "exactly one of bond_dim=, max_params="),
    ],
)
def test_refusals(ask, message):
    with pytest.raises(tnl.TNLayersError, match=message):
        ask()
