"""Adapters that merge back, and dense checkpoints in tensorised models."""

import pytest
import torch
from torch import nn

import tnlayers as tnl


class Conv1D(nn.Module):
    """A stand-in for Hugging Face's: a linear layer with its weight (in_features, out_features)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


# A base, an input of it, and a network of the delta.
BASES = {
    "linear": (lambda: nn.Linear(12, 10), (32, 12), "mpo(cores=2, bond=3)"),
    "lowrank": (lambda: nn.Linear(12, 10, bias=False), (4, 8, 12), "lowrank(rank=2)"),
    "sum": (lambda: nn.Linear(12, 10), (32, 12), "mpo(cores=2, bond=2) + lowrank(rank=1)"),
    "transposed": (lambda: Conv1D(10, 12), (32, 12), "mpo(cores=2, bond=3)"),
    "conv1d": (lambda: nn.Conv1d(6, 8, 3, 2, 1, padding_mode="circular"), (8, 6, 11), "mpo(cores=2, bond=3)"),
    "conv2d": (lambda: nn.Conv2d(6, 8, 3, padding="same", dilation=2), (8, 6, 7, 5), "tucker(cores=1, bond=4)"),
    "grouped": (lambda: nn.Conv2d(6, 8, (3, 2), (2, 1), groups=2), (8, 6, 7, 5), "mpo(cores=2, bond=4)"),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2, bias=False), (4, 4, 3, 4, 5), "mpo(cores=1, bond=3)"),
    "embedding": (lambda: nn.Embedding(30, 12, padding_idx=4), None, "mpo(cores=2, bond=3)"),
}


@pytest.mark.parametrize("name", BASES)
@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")  # small kernels clip bonds
def test_an_adapter_begins_as_its_base_learns_and_merges(name):
    torch.manual_seed(0)
    make, shape, network = BASES[name]
    base = make().double()
    weight = base.weight.detach().clone()
    adapter = tnl.nn.TNAdapter(base, network, seed=0)
    x = torch.randint(30, (8, 5)) if shape is None else torch.randn(shape, dtype=torch.float64)
    assert torch.equal(adapter(x), base(x))
    y = torch.randn_like(base(x))
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
    assert all(p.grad is None for p in base.parameters())
    merged = adapter.merge()
    assert type(merged) is type(base)
    torch.testing.assert_close(merged(x), adapter(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.weight, adapter.weight, rtol=0, atol=0)
    assert (merged(x) - base(x)).abs().max() > 1e-3  # teeth
    assert all(p.requires_grad for p in merged.parameters())
    assert not any(p.requires_grad for p in base.parameters())
    if name == "embedding":
        assert torch.equal(merged.weight[4], weight[4])


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_an_adapter_in_a_model_is_saved_loaded_and_not_merged_into_cores(tmp_path):
    make = lambda seed: nn.Sequential(  # noqa: E731
        tnl.nn.TNAdapter(nn.Linear(24, 24), "mpo(cores=2, bond=2)", seed=seed), nn.Linear(24, 4)
    )
    model = make(0)
    model[0].delta.core_1.data.normal_()
    tnl.save(model, tmp_path / "adapted.safetensors")
    x = torch.randn(3, 24)
    assert torch.equal(tnl.load(tmp_path / "adapted.safetensors", into=make(1))(x), model(x))
    small = tnl.compress(model, ratio=0.6, network="lowrank", rules={"1": None}).model
    assert isinstance(small[0].base, tnl.nn.TNLinear)
    assert not any(p.requires_grad for p in small[0].base.parameters())
    with pytest.raises(tnl.TNLayersError, match="The base is a TNLinear by now, whose weight is computed"):
        small[0].merge()
    torch.testing.assert_close(small[0].weight, small[0].base.to_dense() + small[0].delta.to_dense())


def test_an_adapter_is_saved_by_its_state_and_refuses_what_it_cannot_be_on():
    one, other = (tnl.nn.TNAdapter(nn.Conv2d(4, 4, 3), "mpo(cores=2, bond=2)", seed=seed) for seed in (0, 1))
    one.delta.core_3.data.normal_()
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(one(x), other(x))
    with pytest.raises(tnl.TNLayersError, match=r"nn\.Linear, nn\.Conv1d to 3d, .* got a LSTM"):
        tnl.nn.TNAdapter(nn.LSTM(2, 2))
    with pytest.raises(tnl.TNLayersError, match=r"max_norm=1\.0: it rewrites rows"):
        tnl.nn.TNAdapter(nn.Embedding(4, 4, max_norm=1.0))


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


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_tables_transposed_and_tied_layers_take_a_dense_checkpoint():
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Embedding(30, 12), Conv1D(12, 12), nn.Linear(12, 30))  # noqa: E731
    dense, other = make(), make()
    for model in (dense, other):
        model[2].weight = model[0].weight
    rules = {"*": {"network": "mpo(cores=2)", "bond_dim": 8}, "1": {"network": "lowrank", "bond_dim": 5}}
    made = tnl.compress(dense, ratio=1.0, rules=rules).model
    tnl.load_dense(made, other.state_dict())
    wanted = tnl.compress(other, ratio=1.0, rules=rules).model
    ids = torch.arange(30)
    torch.testing.assert_close(made(ids), wanted(ids), rtol=1e-4, atol=1e-5)
    assert made[2].core_0 is made[0].core_0
    assert (made(ids) - tnl.compress(dense, ratio=1.0, rules=rules).model(ids)).abs().max() > 0.1  # teeth
    state = other.state_dict() | {"2.weight": torch.zeros(30, 12)}
    with pytest.raises(tnl.TNLayersError, match=r"'0\.weight' and '2\.weight' differ .* share their cores"):
        tnl.load_dense(made, state)


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
