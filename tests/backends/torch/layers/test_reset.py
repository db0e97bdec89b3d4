"""`reset_parameters(seed)` of every layer of `tnl.nn`: the parameters are those that the seed draws at the start."""

import pytest
import torch
from torch import nn

import tnlayers as tnl

NET = "mpo(cores=2, bond=2)"
MIXED = {"ih": NET, "hh": None}
MAKE = {
    "TNLinear": lambda seed: tnl.nn.TNLinear(8, 6, network=NET, seed=seed),
    "MPOLinear": lambda seed: tnl.nn.MPOLinear(8, 6, cores=2, bond_dim=2, seed=seed),
    "TNTensorLinear": lambda seed: tnl.nn.TNTensorLinear((2, 4), (3, 2), network="mpo(bond=2)", seed=seed),
    "TNConv1d": lambda seed: tnl.nn.TNConv1d(4, 6, 3, network=NET, seed=seed),
    "TNConv2d": lambda seed: tnl.nn.TNConv2d(4, 6, 3, network=NET, seed=seed),
    "TNConv3d": lambda seed: tnl.nn.TNConv3d(4, 6, 3, network=NET, seed=seed),
    "TNEmbedding": lambda seed: tnl.nn.TNEmbedding(8, 6, network=NET, seed=seed),
    "TNEmbeddingBag": lambda seed: tnl.nn.TNEmbeddingBag(8, 6, network=NET, seed=seed),
    "TNBilinear": lambda seed: tnl.nn.TNBilinear(4, 4, 6, network=NET, seed=seed),
    "TNMultiheadAttention": lambda seed: tnl.nn.TNMultiheadAttention(
        8, 2, networks={"q": NET, "k": None, "v": NET, "out": None}, kdim=6, seed=seed
    ),
    "TNLSTM": lambda seed: tnl.nn.TNLSTM(6, 8, 2, network=NET, proj_size=4, bidirectional=True, seed=seed),
    "TNGRU": lambda seed: tnl.nn.TNGRU(6, 8, network=NET, networks={"hh_l0": None}, seed=seed),
    "TNRNN": lambda seed: tnl.nn.TNRNN(6, 8, network=NET, seed=seed),
    "TNLSTMCell": lambda seed: tnl.nn.TNLSTMCell(6, 8, networks=MIXED, seed=seed),
    "TNGRUCell": lambda seed: tnl.nn.TNGRUCell(6, 8, networks=MIXED, seed=seed),
    "TNRNNCell": lambda seed: tnl.nn.TNRNNCell(6, 8, networks=MIXED, seed=seed),
    "TNAdapter": lambda seed: tnl.nn.TNAdapter(_base(), NET, seed=seed),
}


def _base():
    torch.manual_seed(5)
    return nn.Linear(8, 6)


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_layer_is_here():
    held = {name: getattr(tnl.nn, name) for name in tnl.nn.__all__}
    kinds = {name for name, one in held.items() if isinstance(one, type) and issubclass(one, nn.Module)}
    assert kinds == set(MAKE)


@pytest.mark.parametrize("name", MAKE)
def test_the_seed_gives_what_it_gave_at_the_start(name):
    layer = MAKE[name](0)
    assert equal(layer, MAKE[name](0))
    assert not equal(layer, MAKE[name](1))
    layer.reset_parameters(1)
    assert equal(layer, MAKE[name](1))
    layer.reset_parameters()
    assert not equal(layer, MAKE[name](1))


def test_an_adapter_forgets_and_keeps_its_base():
    adapter, x = MAKE["TNAdapter"](0), torch.randn(3, 8)
    with torch.no_grad():
        for core in adapter.delta.cores.values():
            core.add_(1.0)
    assert not torch.allclose(adapter(x), _base()(x))
    adapter.reset_parameters()
    assert torch.equal(adapter(x), _base()(x))
