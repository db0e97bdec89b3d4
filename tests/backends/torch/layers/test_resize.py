"""Bonds of live layers cut and grown in place, with the optimizer's state."""

import pytest
import torch

import tnlayers as tnl

ONE = "mpo(in=4x4x4, out=4x4x4, bond=8)"
SUM = "mpo(in=4x4x4, out=4x4x4, bond=8) + lowrank(in=64, out=64, rank=6)"
ALIKE = "mpo(in=4x4x4, out=4x4x4, bond=8) + mpo(in=8x8, out=8x8, bond=10)"


def trained(kind, seed=0, text=ONE):
    layer = tnl.build(text, seed=seed, dtype="float64")
    optimizer = kind(layer.parameters())
    x, y = torch.randn(32, 64, dtype=torch.float64), torch.randn(32, 64, dtype=torch.float64)

    def step():
        optimizer.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    torch.manual_seed(seed)
    for _ in range(3):
        step()
    return layer, optimizer, step


OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("how", ["round", "grow"])
@pytest.mark.parametrize("text", [ONE, SUM, ALIKE])
def test_the_optimizer_goes_on_with_the_new_cores(kind, how, text):
    layer, optimizer, step = trained(kind, text=text)
    layer.grow_(12, optimizer=optimizer) if how == "grow" else layer.round_(bond_dim=5, optimizer=optimizer)
    assert set(optimizer.param_groups[0]["params"]) == set(layer.parameters())
    assert set(optimizer.state) == set(layer.parameters())
    for parameter, state in optimizer.state.items():
        assert all(v.shape == parameter.shape for k, v in state.items() if k != "step" and v is not None)
    before = [core.detach().clone() for core in layer.cores.values()]
    losses = [step() for _ in range(4)]
    assert losses[-1] < losses[0]
    assert not any(torch.equal(a, b) for a, b in zip(before, layer.cores.values(), strict=True))


@pytest.mark.parametrize("text", [ONE, SUM, ALIKE])
def test_rounding_keeps_its_promise(text):
    layer, _, _ = trained(OPTIMIZERS[0], text=text)
    weight = layer.to_dense().detach()
    for error in (0, 0.1, 0.4):
        one = tnl.build(layer.spec, seed=1, dtype="float64")
        one.load_state_dict(layer.state_dict())
        one.round_(error=error)
        change = float((one.to_dense().detach() - weight).norm() / weight.norm())
        assert change <= max(error, 1e-12)
        assert error == 0 or one.spec.parameters < layer.spec.parameters


def test_rounding_to_a_bond_beats_no_svd_of_the_same_cut():
    layer = tnl.build("mpo(in=4x8, out=8x4, bond=12)", seed=0, dtype="float64")
    weight, values = layer.to_dense().detach(), layer.spectra().bonds[0].values
    layer.round_(bond_dim=5)
    assert str(layer.spec) == "mpo(in=4x8, out=8x4, bond=5)"
    wrong = float((layer.to_dense().detach() - weight).norm())
    assert wrong == pytest.approx(sum(v**2 for v in values[5:]) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("text", [ONE, ALIKE])
def test_momentum_is_the_gradient_of_the_smaller_layer(text):
    """Where nothing is cut but zeros, averages of one gradient become the gradient that the new cores have."""
    layer = tnl.build(text, seed=0, dtype="float64")
    layer.round_(bond_dim=5)
    layer.grow_(8)  # the cores' last three values carry nothing now
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0, momentum=0.9)
    x, target = torch.randn(16, 64, dtype=torch.float64), torch.randn(16, 64, dtype=torch.float64)
    (layer(x) * target).sum().backward()
    optimizer.step()  # momentum = gradient
    layer.round_(bond_dim=5, optimizer=optimizer)
    (layer(x) * target).sum().backward()
    for core in layer.cores.values():
        torch.testing.assert_close(optimizer.state[core]["momentum_buffer"], core.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "text",
    [
        "mpo(in=4x4x4, out=4x4x4, bond=3)",
        "ring(in=4x4x4, out=4x4x4, bond=2)",
        "cp(in=4x4x4, out=4x4x4, rank=3)",
        "mpo(in=4x4x4, out=4x4x4, bond=3) + cp(in=4x4x4, out=4x4x4, rank=2) + mpo(in=8x8, out=8x8, bond=4)",
    ],
)
def test_growing_changes_nothing_and_can_be_trained(text):
    layer = tnl.build(text, seed=0, dtype="float64")
    weight, before = layer.to_dense().detach(), layer.spec.parameters
    layer.grow_(5)
    assert layer.spec.parameters > before
    torch.testing.assert_close(layer.to_dense().detach(), weight, rtol=1e-12, atol=1e-14)
    layer.to_dense().square().sum().backward()
    assert all(bool((core.grad != 0).any()) for core in layer.cores.values())


def test_terms_that_cancel_are_rounded_by_what_is_left():
    """The error is relative to the sum, which may be far smaller than its terms."""
    layer = tnl.build("mpo(in=8x8, out=8x8, bond=9) + mpo(in=8x8, out=8x8, bond=9)", seed=0, dtype="float64")
    with torch.no_grad():
        for k, sign in ((0, -1.0), (1, 1.0)):
            layer.cores[f"mpo2_core_{k}"].copy_(sign * layer.cores[f"mpo1_core_{k}"])
        layer.cores["mpo2_core_0"].add_(0.005 * torch.randn_like(layer.cores["mpo2_core_0"]))
    weight = layer.to_dense().detach()
    term = tnl.build(layer.spec.terms[0], seed=0, dtype="float64")
    assert weight.norm() < 0.05 * term.to_dense().norm()
    assert max(layer.spectra().advice(0.3)) < 9  # what would be enough for the terms themselves
    layer.round_(error=0.3)
    assert (layer.to_dense().detach() - weight).norm() <= 0.3 * weight.norm()


def test_sizes_of_a_sum_are_one_for_all_or_one_per_bond():
    layer = tnl.build(SUM, seed=0, dtype="float64")
    weight = layer.to_dense().detach()
    count = sum(len(graph.summed) for graph in layer._map.graphs)
    layer.grow_((9, 10, *(7,) * (count - 2)))
    assert str(layer.spec) == "mpo(in=4x4x4, out=4x4x4, bond=9-10) + lowrank(in=64, out=64, rank=7)"
    torch.testing.assert_close(layer.to_dense().detach(), weight, rtol=1e-12, atol=1e-14)
    layer.round_(bond_dim=(8, 8, *(6,) * (count - 2)))
    assert str(layer.spec) == SUM
    torch.testing.assert_close(layer.to_dense().detach(), weight, rtol=1e-9, atol=1e-12)
    with pytest.raises(tnl.TNLayersError, match=f"one for each of {count} bonds"):
        layer.round_(bond_dim=(3, 3, 3, 3, 3, 3, 3))
    with pytest.raises(tnl.TNLayersError, match=r"not mpo.* \+ lowrank.* with larger bonds"):
        layer.grow_(7)


def test_what_cannot_be_done_is_refused():
    layer = tnl.build("mpo(in=4x4, out=4x4, bond=4)", seed=0)
    with pytest.raises(tnl.TNLayersError, match="exactly one"):
        layer.round_()
    with pytest.raises(tnl.TNLayersError, match=r"not .* with larger bonds"):
        layer.grow_(2)
    with pytest.raises(tnl.TNLayersError, match="form a loop"):
        tnl.build("ring(in=4x4x4, out=4x4x4, bond=2)", seed=0).round_(bond_dim=1)
