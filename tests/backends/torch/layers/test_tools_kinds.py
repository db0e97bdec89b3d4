"""The training tools on every kind of layer: what holds for TNLinear holds for all."""

import pytest
import torch

import tnlayers as tnl

KINDS = {
    "linear": (lambda: tnl.nn.TNLinear(12, 10, network="mpo(cores=2, bond=4)", seed=0), (5, 12)),
    "tensor-linear": (lambda: tnl.nn.TNTensorLinear((4, 6), (3, 2), network="mpo(bond=4)", seed=0), (5, 4, 6)),
    "conv": (lambda: tnl.nn.TNConv2d(8, 12, 3, padding=1, network="mpo(bond=4)", seed=0), (2, 8, 5, 5)),
    "conv-cp": (lambda: tnl.nn.TNConv1d(6, 4, 3, network="cp(rank=5)", seed=0), (2, 6, 9)),
    "grouped": (lambda: tnl.nn.TNConv2d(8, 12, 3, groups=2, network="mpo(bond=4)", seed=0), (2, 8, 5, 5)),
    "flat": (
        lambda: tnl.nn.TNConv2d(2, 3, 3, view="flat", in_size=(4, 4), network="mpo(cores=2, bond=4)", seed=0),
        (2, 2, 4, 4),
    ),
    "embedding": (lambda: tnl.nn.TNEmbedding(50, 12, 3, network="mpo(bond=4, cores=2)", seed=0), None),
}


@pytest.fixture(params=KINDS)
def case(request):
    """A float64 layer and an input."""
    make, shape = KINDS[request.param]
    if shape is None:
        return make().double(), torch.tensor([[1, 3, 0], [49, 3, 7]])
    return make().double(), torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def same(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)


def gradients(layer, x):
    layer.zero_grad()
    layer(x).square().sum().backward()
    return [parameter.grad.clone() for parameter in layer.parameters()]


def test_norm(case):
    layer, _ = case
    layer.to_dense().square().sum().backward()
    wanted = [core.grad.clone() for core in layer.cores.values()]
    same(layer.norm2().detach(), layer.to_dense().detach().square().sum())
    layer.zero_grad()
    layer.norm2().backward()
    same([core.grad for core in layer.cores.values()], wanted)


def test_gauge(case):
    layer, x = case
    before = layer(x).detach()
    layer.balance_()
    same(layer(x).detach(), before)
    if len(layer.cores) == 2 or "cp" not in str(layer.spec):
        layer.canonicalise_()
        same(layer(x).detach(), before)


def test_dropout_and_checkpointing(case):
    layer, x = case
    before, wanted = layer(x).detach(), gradients(layer, x)
    same(gradients(tnl.nn.checkpointed(layer), x), wanted)
    tnl.nn.bond_dropout(layer, 0.5)
    torch.manual_seed(0)
    dropped = layer(x).detach()
    assert not torch.allclose(dropped, before)
    torch.manual_seed(0)
    same(layer(x).detach(), dropped)
    same(layer.eval()(x).detach(), before)


def test_pruning(case):
    layer, x = case
    with torch.no_grad():
        for core, indices in zip(layer.cores.values(), (c.indices for c in layer.spec.graphs[0].cores), strict=True):
            for axis, index in enumerate(indices):
                if index in layer.spec.graphs[0].summed:
                    core.movedim(axis, 0)[0] = 0
    before, weight = layer(x).detach(), layer.to_dense().detach()
    count = sum(core.numel() for core in layer.cores.values())
    report = layer.prune_(0)
    assert all(bond.after == bond.before - 1 for bond in report.bonds)
    assert report.parameters == (count, sum(core.numel() for core in layer.cores.values()))
    same(layer(x).detach(), before)
    same(layer.to_dense().detach(), weight)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients(layer, x))
