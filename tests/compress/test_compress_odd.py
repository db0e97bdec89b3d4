"""Weights and kernels of odd shapes: full bonds are exact, budgets are met, and what would grow stays dense."""

from __future__ import annotations

import warnings

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn

MATRICES = [
    *((n, m) for n, m in [(211, 199), (499, 7), (7, 499), (1, 64), (64, 1), (1, 1), (2, 3), (127, 131), (1, 509)]),
    *((n, m) for n, m in [(100, 10), (13, 17), (60, 84), (210, 30), (96, 384), (1, 2), (31, 31), (509, 1)]),
]
KERNELS = [
    ("1x1", nn.Conv2d(16, 32, 1)),
    ("depthwise", nn.Conv2d(24, 24, 3, groups=24)),
    ("depthwise, twice as many", nn.Conv2d(8, 16, 5, groups=8)),
    ("grouped", nn.Conv2d(16, 32, 3, groups=4)),
    ("dilated", nn.Conv2d(12, 18, 3, dilation=2)),
    ("strided (2, 1)", nn.Conv2d(12, 20, 3, stride=(2, 1), padding=1)),
    ("1x7", nn.Conv2d(16, 16, (1, 7), padding=(0, 3))),
    ("7x1 strided", nn.Conv2d(10, 15, (7, 1), stride=(2, 1))),
    ("one channel", nn.Conv2d(1, 20, 5)),
    ("same, circular", nn.Conv2d(6, 10, 3, padding="same", padding_mode="circular")),
    ("1d, prime kernel", nn.Conv1d(16, 24, 11, stride=3)),
    ("1d, dilated and grouped", nn.Conv1d(12, 12, 5, dilation=3, groups=3)),
    ("3d", nn.Conv3d(4, 8, 3, stride=(1, 2, 1))),
]
LAYERS = [(f"{n} -> {m}", nn.Linear(n, m)) for n, m in MATRICES] + KERNELS


def example(layer):
    if isinstance(layer, nn.Linear):
        return torch.randn(3, layer.in_features, dtype=torch.float64)
    sizes = [15] * len(layer.kernel_size)
    return torch.randn(2, layer.in_channels, *sizes, dtype=torch.float64)


def compress(*args, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        return tnl.compress(*args, **keywords)


def smallest(layer, networks):
    """Parameters of the layer as the smallest network, or dense."""
    dense = sum(p.numel() for p in layer.parameters())
    sizes = [
        row.after.parameters
        for network in networks
        for row in compress(nn.Sequential(layer), error=1.0, network=network, dry_run=True).report.layers
    ]
    return min(dense, *sizes)


@pytest.fixture(params=LAYERS, ids=[name for name, _ in LAYERS])
def layer(request):
    return request.param[1].double()


def test_there_are_thirty():
    assert len(LAYERS) == 30


def test_full_bonds_equal_dense(layer):
    made = {1: "TNConv1d", 2: "TNConv2d", 3: "TNConv3d"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        if isinstance(layer, nn.Linear):
            full = tnl.nn.TNLinear.from_linear(layer, "mpo(cores=2)", error=0)
        else:
            kind = getattr(tnl.nn, made[len(layer.kernel_size)])
            full = kind.from_conv(layer, "mpo(cores=2)", error=0)
    x = example(layer)
    with torch.no_grad():
        ours, theirs = full(x), layer(x)
    scale = float(theirs.abs().max())
    assert float((ours - theirs).abs().max()) < 1e4 * torch.finfo(torch.float64).eps * scale


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_budgets_are_met_and_nothing_grows(layer, ratio):
    model = nn.Sequential(layer, nn.Identity())
    total = sum(p.numel() for p in model.parameters())
    networks = ["mpo(cores=2)", "lowrank"]
    least = smallest(layer, networks)
    if least > ratio * total:
        with pytest.raises(tnl.TNLayersError, match=r"for \d+ parameters more"):
            compress(model, ratio=ratio, network=networks)
        return
    result = compress(model, ratio=ratio, network=networks)
    after = sum(p.numel() for p in result.model.parameters())
    assert after == result.report.after.parameters <= ratio * total
    assert result.model(example(layer)).shape == model(example(layer)).shape


def test_what_would_grow_stays_dense(layer):
    result = compress(nn.Sequential(layer), error=0.0)
    (row,) = result.report.layers
    if row.network == "dense":
        assert result.model[0].weight.equal(layer.weight)
        assert row.note
    else:
        assert row.after.parameters < row.before.parameters


def test_a_kept_layer_is_not_taken_for_one_of_other_settings(tmp_path):
    """Equal weights in modules that move differently."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 8, 3))
    padded = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
    padded.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 6, 6)
    for model in (plain, padded):
        small = tnl.compress(model, ratio=0.5, network="mpo", cache=tmp_path).model
        assert small(x).shape == model(x).shape


def test_a_sample_may_be_sparse():
    x = torch.randn(64, 32)
    x[x < 0] = 0
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8))
    samples = (x, x.to_sparse())
    one, other = (quiet(lambda x=x: tnl.compress(model, ratio=0.6, network="lowrank", sample=x)) for x in samples)
    assert one.report.layers[0].output_error == pytest.approx(other.report.layers[0].output_error, rel=1e-4)
    torch.testing.assert_close(one.model(x), other.model(x), rtol=1e-3, atol=1e-3)
