"""Weights of zero as networks: W is exactly zero, and every core learns, whichever way the layer came to be."""

from __future__ import annotations

import numpy as np
import pytest
from quiet import quiet

import tnlayers as tnl
from tnlayers.compress.repair.stages import repair
from tnlayers.decompose.decomposition import decompose

torch = pytest.importorskip("torch")
nn = torch.nn

NETWORKS = [
    *("mpo(cores=2)", "mpo(cores=3)", "mpo(cores=1)", "lowrank", "cp(cores=2)", "tucker(cores=2)", "tree(cores=3)"),
    *("ring(cores=3)", "block_term(cores=2)", "kronecker(cores=2)", "mpo(cores=2, bond=2) + lowrank(rank=2)"),
]


def zero_linear():
    dense = nn.Linear(12, 12)
    nn.init.zeros_(dense.weight)
    nn.init.zeros_(dense.bias)
    return dense


def assert_learns(layer, x, steps=3):
    """W is zero, a few steps move every core, and the outputs come closer to what is wanted."""
    assert not layer.to_dense().detach().any()
    assert all(core.isfinite().all() for core in layer.cores.values())
    before = {name: core.detach().clone() for name, core in layer.cores.items()}
    optimizer = torch.optim.SGD(layer.cores.values(), lr=0.1)
    with torch.no_grad():
        wanted = torch.randn(layer(x).shape, generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (layer(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(not torch.equal(before[name], core) for name, core in layer.cores.items())


def vectors():
    return torch.randn(32, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", NETWORKS)
def test_linear(network):
    size = {} if "+" in network else {"bond_dim": 2}
    if network.startswith("kronecker"):
        size = {"bond_dim": 1}
    layer = quiet(lambda: tnl.nn.TNLinear.from_linear(zero_linear(), network, **size))
    assert layer.delivered.error == 0
    assert_learns(layer, vectors())


@pytest.mark.parametrize(
    "asked", [{"error": 0}, {"error": 0.1}, {"ratio": 0.5}, {"max_params": 60}, {"bond_dim": "vbmf"}]
)
def test_every_size_that_can_be_asked(asked):
    layer = quiet(lambda: tnl.nn.TNLinear.from_linear(zero_linear(), "mpo(cores=2)", **asked))
    assert_learns(layer, vectors())


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_other_dtypes(dtype):
    layer = tnl.nn.TNLinear.from_linear(zero_linear().to(dtype), "mpo(cores=2)", bond_dim=2)
    assert not layer.to_dense().detach().any()
    layer(vectors().to(dtype)).abs().add(1).sum().backward()
    assert {core.dtype for core in layer.cores.values()} == {dtype}
    assert sum(bool(core.detach().any()) for core in layer.cores.values()) == 1


def test_with_a_sample():
    layer = tnl.nn.TNLinear.from_linear(zero_linear(), "mpo(cores=2)", bond_dim=2, sample=vectors())
    assert_learns(layer, vectors())


def test_convolution_and_embedding():
    conv = nn.Conv2d(8, 8, 1)
    nn.init.zeros_(conv.weight)
    layer = tnl.nn.TNConv2d.from_conv(conv, "mpo(cores=2)", bond_dim=2)
    assert_learns(layer, torch.randn(4, 8, 5, 5))
    table = nn.Embedding(16, 8)
    nn.init.zeros_(table.weight)
    assert_learns(tnl.nn.TNEmbedding.from_embedding(table, "mpo(cores=2)", bond_dim=2), torch.arange(16))


def test_compress():
    model = nn.Sequential(nn.Linear(12, 64), zero_linear_of(64, 64), nn.ReLU(), nn.Linear(64, 4))
    result = quiet(lambda: tnl.compress(model, ratio=0.5))
    small = result.model
    assert type(small[1]) is tnl.nn.TNLinear
    assert_learns(small[1], torch.randn(32, 64))
    whole = quiet(lambda: tnl.compress(model, error=0.1)).model
    assert_learns(whole[1], torch.randn(32, 64))


def zero_linear_of(n, m):
    dense = nn.Linear(n, m)
    nn.init.zeros_(dense.weight)
    return dense


def test_load_dense():
    model = nn.Sequential(tnl.nn.MPOLinear(12, 12, bond_dim=3, cores=2))
    tnl.load_dense(model, nn.Sequential(zero_linear()).state_dict())
    assert_learns(model[0], vectors())


def test_repair():
    teacher = nn.Sequential(zero_linear(), nn.Tanh(), nn.Linear(12, 4))
    model = nn.Sequential(tnl.nn.MPOLinear.from_linear(teacher[0], bond_dim=2, cores=2), nn.Tanh(), nn.Linear(12, 4))
    with torch.no_grad():
        for core in model[0].cores.values():  # as files of earlier versions have it
            core.zero_()
    repair(model, teacher, [vectors()], epochs=1, progress=False)
    assert all(core.detach().any() for core in model[0].cores.values())


@pytest.mark.parametrize("change", ["round_", "round_ bond", "prune_", "balance_", "canonicalise_"])
def test_changes_in_place(change):
    layer = tnl.nn.TNLinear.from_linear(zero_linear(), "mpo(cores=2)", bond_dim=3)
    changes = {
        "round_": lambda: layer.round_(error=0.1),
        "round_ bond": lambda: layer.round_(bond_dim=2),
        "prune_": lambda: layer.prune_(0.0),
        "balance_": layer.balance_,
        "canonicalise_": layer.canonicalise_,
    }
    changes[change]()
    assert_learns(layer, vectors())


@pytest.mark.parametrize("base", [zero_linear, lambda: nn.Linear(12, 12)])
def test_adapters(base):
    adapter = tnl.nn.TNAdapter(base(), "mpo(cores=2, bond=2)")
    assert_learns(adapter.delta, vectors())


def test_numpy_too():
    found = decompose(np.zeros((12, 12), np.float32), "mpo(cores=2)", bond_dim=2)
    first, last = found.cores.values()
    assert first.any()
    assert not last.any()
    assert first.dtype == np.float32


def test_a_term_that_has_nothing_to_do_can_be_trained():
    dense = nn.Linear(12, 12)
    with torch.no_grad():
        dense.weight.copy_(torch.outer(torch.ones(12), torch.arange(12.0)))
    layer = quiet(lambda: tnl.nn.TNLinear.from_linear(dense, "lowrank(rank=1) + lowrank(rank=1)"))
    cores = list(layer.cores.values())
    assert sum(not core.detach().any() for core in cores[2:]) <= 1
