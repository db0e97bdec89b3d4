"""Adapters that merge back, and dense checkpoints in tensorised models."""

import pytest
import torch
from torch import nn

import tnlayers as tnl


@pytest.mark.parametrize("network", ["mpo(cores=2, bond=3)", "lowrank(rank=2)"])
def test_an_adapter_begins_as_its_base_learns_and_merges(network):
    torch.manual_seed(0)
    base = nn.Linear(12, 10, dtype=torch.float64)
    weight = base.weight.detach().clone()
    adapter = tnl.nn.TNAdapter(base, network, seed=0)
    x, y = torch.randn(32, 12, dtype=torch.float64), torch.randn(32, 10, dtype=torch.float64)
    assert torch.equal(adapter(x), base(x))
    optimizer = torch.optim.Adam([p for p in adapter.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (adapter(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert torch.equal(base.weight, weight)
    merged = adapter.merge()
    torch.testing.assert_close(merged(x), adapter(x), rtol=1e-12, atol=1e-13)
    assert merged.weight.requires_grad
    with pytest.raises(tnl.TNLayersError, match=r"nn\.Linear, got a Conv1d"):
        tnl.nn.TNAdapter(nn.Conv1d(2, 2, 3))


def models(bond):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 4))
    conv = tnl.nn.TNConv2d(4, 8, 3, network=f"mpo(cores=2, bond={bond})")
    return dense, nn.Sequential(
        conv, nn.BatchNorm2d(8), nn.Flatten(), tnl.nn.MPOLinear(32, 16, bond_dim=bond), nn.Linear(16, 4)
    )


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_a_dense_checkpoint_is_decomposed():
    dense, model = models(64)
    x = torch.randn(2, 4, 4, 4)
    assert tnl.load_dense(model, dense.state_dict()) is model
    torch.testing.assert_close(model.eval()(x), dense.eval()(x), rtol=1e-4, atol=1e-5)
    dense, model = models(2)
    tnl.load_dense(model, dense.state_dict())
    weight = dense[3].weight
    error = float((model[3].to_dense() - weight).norm().detach() / weight.norm().detach())
    assert model[3].delivered.error == pytest.approx(error, rel=1e-4)


def test_load_state_dict_names_the_way():
    dense, model = models(2)
    with pytest.raises(tnl.TNLayersError, match=r"'0.weight'.*tnl.load_dense\(model, state_dict\)"):
        model.load_state_dict(dense.state_dict())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = dense.state_dict()
    state["3.weight"] = torch.zeros(3, 3)
    with pytest.raises(tnl.TNLayersError, match=r"3.weight: \(3, 3\) given, \(16, 32\) wanted"):
        tnl.load_dense(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.load_state_dict(before)  # its own still loads
