"""Shapes and orders: what a search finds, that it never loses, and that layers carry the orders everywhere."""

import copy
import pickle

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_weight
from planted import shuffled_clusters
from processor_time import processor_time  # noqa: F401  # a fixture
from torch import nn

import tnlayers as tnl
from tnlayers.compress import decompose
from tnlayers.decompose.arrangement import shapes, swapped

pytestmark = pytest.mark.filterwarnings("ignore::tnlayers.errors.TNLayersWarning")


def weight_of(found):
    """The weight in the features' own order, from the oracle's and the definition of the orders."""
    network = oracle_weight(found.spec, list(found.cores.values())).value
    weight = np.empty_like(network)
    outs = range(len(network)) if found.out_order is None else found.out_order
    ins = range(network.shape[1]) if found.in_order is None else found.in_order
    weight[np.ix_(outs, ins)] = network
    return weight


def relative(weight, near):
    return np.linalg.norm(weight - near) / np.linalg.norm(weight)


def test_a_planted_order_is_found():
    weight = shuffled_clusters()
    found = decompose(weight, "mpo(in=6x8, out=6x8)", ratio=0.36, search=1.0)
    assert found.error == pytest.approx(relative(weight, weight_of(found)), rel=1e-9)
    assert found.searched.after == found.error < 0.5 * found.searched.before
    assert found.searched.before == decompose(weight, "mpo(in=6x8, out=6x8)", ratio=0.36).error
    assert found.parameters <= 0.36 * weight.size
    assert sorted(found.in_order) == sorted(found.out_order) == list(range(48))
    assert f"error {found.searched.before:.4g} -> {found.error:.4g}" in str(found)
    assert relative(weight, weight_of(found)[::-1]) > 0.5  # the comparison sees another order


def test_a_planted_shape_is_found():
    layer = tnl.build("mpo(in=4x4x3, out=3x2x4, bond=3)", backend="numpy", dtype="float64")
    weight = layer.to_dense()
    found = decompose(weight, "mpo(cores=3)", ratio=0.3, search=1.5, orders=False)
    assert found.error < 0.1 * found.searched.before
    assert found.in_order is None
    assert found.searched.orders == 0
    assert found.searched.shapes > 10


@pytest.mark.parametrize("network", ["mpo", "mpo(cores=2)", "tucker", "ring(cores=2)", "lowrank", "cp(cores=2)"])
@pytest.mark.parametrize("ask", [{"ratio": 0.3}, {"bond_dim": 3}, {"error": 0.4}])
def test_a_search_never_loses(network, ask):
    weight = shuffled_clusters(24, 4)
    plain = decompose(weight, network, **ask)
    found = decompose(weight, network, **ask, search=0.1)
    assert found.parameters <= max(plain.parameters, 0.3 * weight.size * ("ratio" in ask))
    assert found.error <= max(plain.error, ask.get("error", 0)) * (1 + 1e-9)
    assert found.error == pytest.approx(relative(weight, weight_of(found)), rel=1e-6)


def test_low_rank_is_among_the_shapes():
    """So a search over shapes of two cores is at least as good as low rank at equal parameters."""
    weight = np.random.default_rng(0).standard_normal((32, 48)) @ np.diag(np.exp(-np.arange(48) / 8))
    low_rank = decompose(weight, "lowrank", ratio=0.3)
    found = decompose(weight, "mpo(cores=2)", ratio=0.3, search=1.0, orders=False)
    assert found.error <= low_rank.error * (1 + 1e-9)
    assert next(shapes(48, 32, (2,))) == ((48, 1), (1, 32))


def test_the_time_is_kept():
    weight = np.random.default_rng(0).standard_normal((96, 96))
    found = decompose(weight, "mpo(cores=4)", ratio=0.2, search=0.5)
    assert found.searched.seconds < 2.0  # the candidate at work is finished


def test_swaps_are_disjoint_and_gain():
    gains = np.random.default_rng(0).standard_normal((9, 9))
    order = swapped(gains)
    assert sorted(order) == list(range(9))
    assert gains[order, np.arange(9)].sum() > np.trace(gains)
    assert (order[order] == np.arange(9)).all()


def test_outputs_are_what_counts_with_a_covariance():
    weight = shuffled_clusters()
    x = np.random.default_rng(1).standard_normal((300, 48)) * np.linspace(2, 0.05, 48)
    found = decompose(weight, "mpo(in=6x8, out=6x8)", ratio=0.25, search=1.0, covariance=x.T @ x / 300)
    wrong = np.linalg.norm(x @ (weight - weight_of(found)).T) / np.linalg.norm(x @ weight.T)
    assert found.output_error == pytest.approx(wrong, rel=1e-6)
    assert found.searched.after == found.output_error < 0.7 * found.searched.before


@pytest.fixture(name="searched", scope="module")
def fixture_searched():
    dense = nn.Linear(48, 48).double()
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(shuffled_clusters()))
    with pytest.warns(tnl.TNLayersWarning):
        layer = tnl.nn.TNLinear.from_linear(dense, "mpo(in=6x8, out=6x8)", ratio=0.26, search=1.0)
    return dense, layer


def test_a_layer_carries_its_orders(searched, tmp_path):
    dense, layer = searched
    x = torch.randn(5, 48, dtype=torch.float64)
    expected = x.numpy() @ layer.to_dense().detach().numpy().T + dense.bias.detach().numpy()
    assert_close(layer(x), expected, dtype="float64", terms=48 * 8)
    wrong = torch.linalg.norm(layer.weight - dense.weight) / torch.linalg.norm(dense.weight)
    assert float(wrong.detach()) == pytest.approx(layer.delivered.error, rel=1e-9)
    assert {name for name, _ in layer.named_buffers()} == {"in_order", "out_place"}
    assert "in_order" not in dict(layer.named_parameters())
    assert layer.delivered.order_bytes == sum(b.numel() * b.element_size() for b in layer.buffers()) == 4 * 96
    tnl.save(layer, tmp_path / "layer.safetensors")
    for other in (tnl.load(tmp_path / "layer.safetensors"), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
    torch.testing.assert_close(layer.to_linear()(x), layer(x))
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))
    layer(x).sum().backward()
    assert layer.core_0.grad is not None


def test_models_carry_orders(searched, tmp_path):
    _, layer = searched
    model = nn.Sequential(layer, nn.ReLU())
    tnl.save(model, tmp_path / "model.safetensors")
    into = nn.Sequential(nn.Linear(48, 48).double(), nn.ReLU())
    x = torch.randn(3, 48, dtype=torch.float64)
    assert torch.equal(tnl.load(tmp_path / "model.safetensors", into=into)(x), model(x))


def test_refusals(searched, tmp_path):
    _, layer = searched
    twin, x = tnl.to_backend(layer, "numpy"), torch.randn(3, 48, dtype=torch.float64)
    np.testing.assert_allclose(twin(x.numpy()), layer(x).detach().numpy(), rtol=1e-10, atol=1e-12)
    with pytest.raises(tnl.TNLayersError, match="dimension is 47"):
        layer(torch.zeros(2, 47, dtype=torch.float64))
    with pytest.raises(tnl.TNLayersError, match="only linear layers have orders"):
        tnl.nn.TNEmbedding.from_embedding(nn.Embedding(16, 8), ratio=0.5, orders=True)
    with pytest.raises(tnl.TNLayersError, match="a convolution's sites are its dimensions"):
        tnl.nn.TNConv2d.from_conv(nn.Conv2d(4, 4, 3), ratio=0.5, search=1.0)
    broken = copy.deepcopy(layer)
    broken.in_order[0] = broken.in_order[1]
    tnl.save(broken, tmp_path / "broken.safetensors")
    with pytest.raises(tnl.TNLayersError, match="'in_order' is no order of the 48 features"):
        tnl.load(tmp_path / "broken.safetensors")


def test_embeddings_search_shapes():
    table = nn.Embedding(36, 12)
    layer = tnl.nn.TNEmbedding.from_embedding(table, "mpo(cores=2)", ratio=0.5, search=0.5)
    assert layer.delivered.searched.shapes > 1
    assert layer.delivered.error <= tnl.nn.TNEmbedding.from_embedding(table, "mpo(cores=2)", ratio=0.5).delivered.error
