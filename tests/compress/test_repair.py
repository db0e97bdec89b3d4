"""Repair: least squares of cores against the dense layer's outputs, distillation, and what it never does."""

import copy

import pytest
import torch
from torch import nn

import tnlayers as tnl
from tnlayers.compress.repair.least_squares import solve_cores
from tnlayers.compress.repair.pairs import moments
from tnlayers.compress.repair.trainable import central_cores


def teacher_and_batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    teacher = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    mix = torch.randn(24, 24, generator=generator) * torch.linspace(0.05, 2, 24)
    return teacher, [torch.randn(64, 24, generator=generator) @ mix for _ in range(4)]


def student(teacher, network="mpo(cores=2)", bond_dim=2):
    layers = [
        tnl.nn.TNLinear.from_linear(layer, network, bond_dim=bond_dim) if isinstance(layer, nn.Linear) else layer
        for layer in copy.deepcopy(teacher)
    ]
    return nn.Sequential(*layers[:-1], copy.deepcopy(teacher[-1]))


def test_least_squares_reaches_the_optimum_of_a_matrix_factor():
    """With one core fixed, the other is an ordinary least-squares problem, which numpy solves too."""
    torch.manual_seed(0)
    layer = tnl.nn.TNLinear(6, 5, bias=False, network="lowrank(rank=2)", dtype=torch.float64, seed=0)
    x, y = torch.randn(200, 6, dtype=torch.float64), torch.randn(200, 5, dtype=torch.float64)
    sums = moments(layer, x[:120], y[:120]) + moments(layer, x[120:], y[120:])
    first, second = layer.cores
    through = x @ layer.cores[first].detach()  # (200, 2)
    best = torch.linalg.lstsq(through, y).solution
    expected = float((through @ best - y).norm() / y.norm())
    before, after = solve_cores(layer, sums, 1, fixed={first})
    assert before > after == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(layer.cores[second].detach(), best, rtol=1e-8, atol=1e-10)
    assert float((layer(x).detach() - y).norm() / y.norm()) == pytest.approx(after, rel=1e-9)


@pytest.mark.parametrize("network", ["mpo(cores=2)", "ring(cores=3)", "cp"])
def test_layer_by_layer_lowers_the_error_of_every_type(network):
    teacher, batches = teacher_and_batches()
    model = student(teacher, network)
    report = tnl.repair(model, teacher, batches, epochs=0, sweeps=2, loss="mse", progress=False)
    assert set(report.layers) == {"0", "2"}
    assert all(after <= before * (1 + 1e-9) for before, after in report.layers.values())
    assert report.layers["0"][1] < 0.99 * report.layers["0"][0]
    assert report.kept == "layerwise"
    assert report.delivered < report.began


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_are_fitted_through_their_patches(stride):
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3, stride=stride, padding=1))
    model = nn.Sequential(tnl.nn.TNConv2d.from_conv(teacher[0], bond_dim=2))
    x = [torch.randn(8, 3, 7, 7).cumsum(-1)]
    report = tnl.repair(model, teacher, x, epochs=0, loss="mse", progress=False)
    before, after = report.layers["0"]
    assert after < before
    with torch.no_grad():
        measured = (model(x[0]) - teacher(x[0])).norm() / teacher(x[0]).norm()
    assert float(measured) == pytest.approx(after, rel=1e-4)


def test_distillation_goes_on_from_there_and_repeats():
    teacher, batches = teacher_and_batches()
    model = student(teacher)
    twin = copy.deepcopy(model)
    reports = [tnl.repair(one, teacher, batches, epochs=5, seed=3, progress=False) for one in (model, twin)]
    assert reports[0] == reports[1]
    assert reports[0].delivered < reports[0].layerwise
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert "kept: epoch" in str(reports[0])


def test_what_makes_it_worse_is_not_kept():
    teacher, batches = teacher_and_batches()
    model = student(teacher, bond_dim=16)
    before = copy.deepcopy(model.state_dict())
    report = tnl.repair(model, teacher, batches, epochs=2, sweeps=0, lr=100.0, progress=False)
    assert report.kept == "as it began"
    assert min(report.epochs) > report.began
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "nothing that was tried was better" in str(report)


def test_the_central_core_stays_where_only_the_auxiliary_ones_train():
    teacher, batches = teacher_and_batches()
    model = student(teacher, "mpo(cores=3)")
    central = central_cores(model)
    assert all(len(names) == 1 for names in central.values())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = tnl.repair(model, teacher, batches, epochs=2, trainable="auxiliary", progress=False)
    assert report.delivered < report.began
    frozen = {f"{layer}.{core}" for layer, cores in central.items() for core in cores} | {
        name for name in before if name.endswith("bias") or name.startswith("4.")
    }
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(before) - frozen
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_teacher_and_the_modes_stay():
    teacher, batches = teacher_and_batches()
    model = student(teacher)
    model[1].eval()
    before = copy.deepcopy(teacher.state_dict())
    tnl.repair(model, teacher, [(x, torch.zeros(len(x))) for x in batches], progress=False)
    assert teacher.training
    assert model.training
    assert not model[1].training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_what_cannot_be_done_is_refused_in_words():
    teacher, batches = teacher_and_batches()
    model = student(teacher)
    with pytest.raises(tnl.TNLayersError, match=r"only once.*list\(loader\)"):
        tnl.repair(model, teacher, iter(batches))
    with pytest.raises(tnl.TNLayersError, match=r"is a tensor of shape .*give \[tensor\]"):
        tnl.repair(model, teacher, batches[0])
    with pytest.raises(tnl.TNLayersError, match="begins with a ndarray"):
        tnl.repair(model, teacher, [batches[0].numpy()])
    with pytest.raises(tnl.TNLayersError, match="NaN or infinite on these batches"):
        tnl.repair(model.train(), teacher, [batches[0] * torch.nan])
    assert model.training
    with pytest.raises(tnl.TNLayersError, match="no layer of tnlayers"):
        tnl.repair(teacher, teacher, batches)
    with pytest.raises(tnl.TNLayersError, match="trainable='some'"):
        tnl.repair(model, teacher, batches, trainable="some")
    with pytest.raises(tnl.TNLayersError, match="gave no batches"):
        tnl.repair(model, teacher, [])
    with pytest.raises(tnl.TNLayersError, match="loss='l1'"):
        tnl.repair(model, teacher, batches, loss="l1")
    report = tnl.repair(model, nn.Sequential(nn.Sequential(*teacher)), batches, epochs=0, progress=False)
    assert set(report.skipped) == {"0", "2"}
