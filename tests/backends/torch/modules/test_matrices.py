"""Optimizers of matrices step each core as the matrix that it is for an input, and leave all else of the model."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

import tnlayers as tnl

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
NETWORKS = [
    "mpo(cores=3, bond=4)",
    "ring(cores=3, bond=2)",
    "lowrank(rank=3) + mpo(cores=2)",
]


def model(network=NETWORKS[0]):
    torch.manual_seed(0)
    layers = tnl.nn.TNLinear(24, 20, network=network, seed=0), nn.Tanh(), nn.LayerNorm(20), nn.Linear(20, 4)
    return nn.Sequential(*layers).double()


def by_hand(core, graph, name):
    """(fan_out, fan_in): what begins at a core and what ends there, by going through the cores one after the other."""
    index = next(one.indices for one in graph.cores if one.name == name)
    later, seen = set(), False
    for one in graph.cores:
        seen, later = (True, later) if one.name == name else (seen, later | (set(one.indices) if seen else set()))
    ends = [axis for axis, i in enumerate(index) if i not in later and i not in graph.outputs]
    begins = [axis for axis in range(core.ndim) if axis not in ends]
    array = core.detach().numpy().transpose(*begins, *ends)
    return array.reshape(int(np.prod(array.shape[: len(begins)])), -1), begins, ends


X = torch.randn(7, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@needs_muon
@pytest.mark.parametrize("network", NETWORKS)
def test_muon_does_with_a_core_what_it_does_with_that_matrix(network):
    own = model(network)
    cores = {f"0.{name}" for name in own[0].cores}
    twins, shapes = {}, {}
    named = dict(own.named_parameters())
    for graph in own[0].spec.graphs:
        for core in graph.cores:
            matrix, begins, ends = by_hand(own[0].cores[core.name], graph, core.name)
            twins[f"0.{core.name}"] = nn.Parameter(torch.from_numpy(matrix.copy()))
            shapes[f"0.{core.name}"] = begins, ends
    twins["3.weight"] = nn.Parameter(own[3].weight.detach().clone())
    options = {"lr": 0.1, "weight_decay": 0.01}
    muon = tnl.nn.matrix_optimizer(torch.optim.Muon, own, **options)
    plain = torch.optim.Muon(list(twins.values()), **options)
    assert isinstance(muon, torch.optim.Muon)
    held = set(map(id, muon.param_groups[0]["params"]))
    assert {name for name, p in named.items() if id(p) in held} == set(twins)
    for _ in range(3):
        own(X).square().mean().backward()
        for name, twin in twins.items():
            grad = named[name].grad
            if name in cores:
                begins, ends = shapes[name]
                grad = grad.permute(*begins, *ends).reshape(twin.shape)
            twin.grad = grad.clone()
        before = {name: p.data_ptr() for name, p in named.items()}
        muon.step()
        plain.step()
        muon.zero_grad()
        assert all(p.grad is None for name, p in named.items() if name in twins)
        for name, twin in twins.items():
            found = named[name]
            assert found.data_ptr() == before[name]
            if name in cores:
                begins, ends = shapes[name]
                found = found.permute(*begins, *ends).reshape(twin.shape)
            torch.testing.assert_close(found, twin)
        own[0].zero_grad()


@needs_muon
def test_what_goes_around_an_optimizer_goes_around_this_one():
    own = model()
    wanted = {name: p.shape for name, p in own.named_parameters()}
    muon = tnl.nn.matrix_optimizer(torch.optim.Muon, own, lr=0.05)
    falling = torch.optim.lr_scheduler.StepLR(muon, 1, 0.5)

    def loss():
        muon.zero_grad()
        value = own(X).square().mean()
        value.backward()
        return value

    first = float(muon.step(loss).detach())
    falling.step()
    assert muon.param_groups[0]["lr"] == 0.025
    kept = deepcopy(muon.state_dict())
    states = deepcopy(own.state_dict())
    muon.step(loss)
    after = own(X).detach()
    assert float(loss().detach()) < first
    own.load_state_dict(states)
    again = tnl.nn.matrix_optimizer(torch.optim.Muon, own, lr=1.0)
    again.load_state_dict(kept)
    again.step(loss)
    torch.testing.assert_close(own(X), after, rtol=0, atol=0)
    with torch.no_grad(), pytest.raises(TypeError):
        again.step(3)
    assert {name: p.shape for name, p in own.named_parameters()} == wanted


def test_the_split_and_what_is_refused():
    own = nn.Sequential(
        nn.Embedding(9, 24),
        tnl.nn.TNEmbedding(12, 16, network="mpo(cores=2)"),
        tnl.nn.TNLinear(24, 20, network="mpo(cores=2)"),
        nn.Conv2d(2, 2, 3),
        nn.Linear(4, 4).requires_grad_(False),
        nn.LSTM(3, 4),
    )
    names = {id(p): name for name, p in own.named_parameters()}
    split = tnl.nn.split_matrices(own)
    lstm = ["5.weight_ih_l0", "5.weight_hh_l0"]
    assert [names[id(p)] for p in split.matrices] == ["2.core_0", "2.core_1", *lstm]
    learning = [name for name, p in own.named_parameters() if p.requires_grad]
    assert sorted(names[id(p)] for part in split for p in part) == sorted(learning)
    with pytest.raises(tnl.TNLayersError, match="no class of torch"):
        tnl.nn.matrix_optimizer("muon", own)
    with pytest.raises(tnl.TNLayersError, match="no cores and no matrices"):
        tnl.nn.matrix_optimizer(torch.optim.SGD, nn.LayerNorm(3))


def test_a_step_that_fails_leaves_cores_behind():
    class Failing(torch.optim.SGD):
        def step(self, closure=None):
            assert all(p.ndim == 2 for group in self.param_groups for p in group["params"])
            raise RuntimeError("no")

    own = model()
    optimizer = tnl.nn.matrix_optimizer(Failing, own, lr=0.1)
    own(X).sum().backward()
    grads = [p.grad for p in own[0].cores.values()]
    with pytest.raises(RuntimeError, match="no"):
        optimizer.step()
    assert [core.ndim for core in own[0].cores.values()] == [3, 4, 3]
    assert all(p.grad is grad for p, grad in zip(own[0].cores.values(), grads, strict=True))
    assert own(X).shape == (7, 4)


def test_a_core_without_a_side_is_cut_where_its_sides_are_closest():
    layer = tnl.nn.TNLinear(24, 20, network="tucker(in=4x6, out=4x5, bond=3-2-2-3)", seed=0)
    shapes = {}

    class Seen(torch.optim.SGD):
        def step(self, closure=None):
            shapes.update({name: tuple(core.shape) for name, core in layer.cores.items()})

    optimizer = tnl.nn.matrix_optimizer(Seen, layer, lr=0.1)
    optimizer.step()
    assert shapes == {"core": (6, 6), "in_0": (4, 3), "in_1": (6, 2), "out_0": (4, 2), "out_1": (5, 3)}
    assert len(optimizer.param_groups[0]["params"]) == 5
