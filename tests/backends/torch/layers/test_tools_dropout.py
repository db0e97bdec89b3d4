"""Dropout on bonds: linear in each mask, so that the expected weight is the weight; off in evaluation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_weight
from specs import MARKET, SUMS
from tnlayers_backends.torch.layers.dropout import BondDropout, apply_mask
from tnlayers_backends.torch.run.primitives import OPS

import tnlayers as tnl

ROWS = MARKET | SUMS


def weight(layer, cores):
    return layer._map.weight(OPS, cores)


@pytest.mark.parametrize("name", ROWS)
def test_each_mask_enters_linearly_and_once(name):
    """W(m) + W(1 - m) = W(1) + W(0) for the mask of each bond: then E[W] is W(E[m]) = W, whatever the masks' law is."""
    layer = tnl.build(ROWS[name], seed=5, dtype="float64")
    places = BondDropout(layer.spec.graphs, 0.5)._places
    cores = [core.detach() for core in layer.cores.values()]
    before = oracle_weight(layer.spec, values(layer)[0])
    assert len(places) == len([i for graph in layer.spec.graphs for i in graph.summed if graph.sizes[i] > 1])
    for k, axis in places:
        m = torch.rand(cores[k].shape[axis], dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        masked = [
            weight(layer, [*cores[:k], apply_mask(cores[k], axis, mask), *cores[k + 1 :]])
            for mask in (m, 1 - m, torch.zeros_like(m))
        ]
        assert_close(masked[0] + masked[1] - masked[2], before, dtype="float64")
        if len(layer.spec.parts) == 1:  # W is a sum over the bond: with no value of it, nothing is left
            assert not masked[2].any()
        with pytest.raises(AssertionError, match="off by"):
            assert_close(masked[0], before, dtype="float64")


@pytest.mark.parametrize("name", ["mpo-4", "cp", "ring", "traced", "sum-2"])
def test_values_are_left_out_and_the_rest_is_scaled(name):
    layer = tnl.nn.bond_dropout(tnl.build(ROWS[name], seed=5, dtype="float64"), 0.25)
    ones = [torch.ones_like(core) for core in layer.cores.values()]
    torch.manual_seed(0)
    seen = torch.cat([core.flatten() for _ in range(400) for core in layer.bond_dropout(ones)])
    powers = torch.log(seen[seen > 0]) / np.log(4 / 3)
    assert (seen == 0).any()
    torch.testing.assert_close(powers, powers.round())  # a product of factors 1/(1 - p)
    assert abs(float(seen.mean()) - 1) < 0.1


def test_the_mean_weight_is_the_weight():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-3"], seed=5, dtype="float64"), 0.2)
    cores = [core.detach() for core in layer.cores.values()]
    torch.manual_seed(0)
    drawn = torch.stack([weight(layer, layer.bond_dropout(cores)) for _ in range(2000)])
    error = (drawn.mean(0) - weight(layer, cores)).abs() / (drawn.std(0) / 2000**0.5)
    assert drawn.std(0).min() > 0
    assert float(error.max()) < 4.5  # the largest of 288 entries


def test_evaluation_and_p_zero_leave_the_layer_as_it_is():
    plain = tnl.build(MARKET["mpo-bias"], seed=5)
    layer = tnl.nn.bond_dropout(copy.deepcopy(plain), 0.5)
    x = torch.from_numpy(inputs(plain.spec, (5,), "float32"))
    assert layer.training
    assert not torch.equal(layer(x), plain(x))
    assert torch.equal(layer.eval()(x), plain(x))
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert torch.equal(layer.to_dense(), plain.to_dense())
    for twin in (copy.deepcopy(layer.train()), pickle.loads(pickle.dumps(layer))):
        assert twin.bond_dropout.p == 0.5
        assert "p=0.5" in repr(twin)
    assert torch.equal(tnl.nn.bond_dropout(layer, 0)(x), plain(x))
    assert layer.bond_dropout is None


def test_a_model_is_set_as_a_whole():
    model = torch.nn.Sequential(torch.nn.Linear(12, 12), tnl.nn.TNLinear(12, 12), tnl.nn.TNLinear(12, 12)).eval()
    assert tnl.nn.bond_dropout(model, 0.1) is model
    assert [layer.bond_dropout.training for layer in model[1:]] == [False, False]
    model.train()
    assert [layer.bond_dropout.training for layer in model[1:]] == [True, True]


def test_draws_follow_the_seed_and_serve_the_whole_batch():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-4"], seed=5), 0.3)
    row = torch.from_numpy(inputs(layer.spec, (1,), "float32"))
    torch.manual_seed(3)
    first = layer(row.expand(7, -1))
    torch.testing.assert_close(first, first[:1].expand(7, -1))
    assert not torch.equal(first, layer(row.expand(7, -1)))
    torch.manual_seed(3)
    assert torch.equal(first, layer(row.expand(7, -1)))


def test_bonds_of_size_one_stay():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-bond-1"], seed=5), 0.9)
    x = torch.from_numpy(inputs(layer.spec, (5,), "float32"))
    assert torch.equal(layer(x), layer.eval()(x))


def test_gradients_of_what_was_left_out_are_zero():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-2"], seed=5, dtype="float64"), 0.5)
    torch.manual_seed(3)
    kept = layer.bond_dropout([torch.ones_like(core) for core in layer.cores.values()])[0][0, 0] > 0
    assert 0 < int(kept.sum()) < 3
    torch.manual_seed(3)
    layer(torch.from_numpy(inputs(layer.spec, (4,), "float64"))).square().sum().backward()
    for core, axis in ((layer.core_0, 2), (layer.core_1, 0)):
        alive = core.grad.movedim(axis, 0).flatten(1).abs().amax(1) > 0
        assert torch.equal(alive, kept)


@pytest.mark.parametrize("name", ["mpo-3", "sum-2"])
def test_compiled_code_draws_the_same_masks(name):
    layer = tnl.nn.bond_dropout(tnl.build(ROWS[name], seed=5), 0.3)
    x = torch.from_numpy(inputs(layer.spec, (5,), "float32"))
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = layer(x)
        torch.manual_seed(seed)
        torch.testing.assert_close(compiled(x), expected)


@pytest.mark.parametrize("p", [1, -0.1, 1.5, True, "0.1"])
def test_wrong_probabilities_are_refused(p):
    with pytest.raises(tnl.TNLayersError, match=rf"p={p!r}: .* from 0 to below 1"):
        tnl.nn.bond_dropout(tnl.build(MARKET["mpo-2"]), p)


def test_a_model_without_layers_is_refused():
    with pytest.raises(tnl.TNLayersError, match="This Linear has no layer of tnlayers"):
        tnl.nn.bond_dropout(torch.nn.Linear(2, 2), 0.1)
