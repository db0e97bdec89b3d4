"""What inference does again is what it did the first time, for inputs of every shape."""

from dataclasses import replace

import pytest
import torch
from layer_arrays import inputs, values
from oracle import assert_close, oracle_forward
from specs import MARKET
from tnlayers_backends.torch.run import bound_call as bind
from torch_cases import torch_blames_itself

import tnlayers as tnl


def walked(monkeypatch):
    """The walks that are taken."""
    taken = []
    original = bind.BoundCall.__call__

    def watched(self, *arguments):
        taken.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(bind.BoundCall, "__call__", watched)
    return taken


def right(layer, y, x):
    """Compare a result with the oracle of the cores as they are now."""
    cores, bias = values(layer)
    assert_close(y, oracle_forward(layer.spec, cores, x, bias), dtype="float32")


def agrees(layer, leading):
    """Infer twice, and compare both with the oracle."""
    x = inputs(layer.spec, leading, "float32")
    with torch.no_grad():
        for _ in range(2):
            right(layer, layer(torch.from_numpy(x)), x)


@pytest.mark.parametrize("name", MARKET)
def test_every_network_and_shape(name, monkeypatch):
    layer, taken = tnl.build(MARKET[name], seed=1), walked(monkeypatch)
    for leading in ((), (2, 3), (0,), (300,)):
        agrees(layer, leading)
    plans = [layer._map.guarded_plan(batch) for batch in (1, 6, 0, 300)]
    cached = [plan for plan in plans if plan.objective == "inference" and plan.terms[0].sweep is not None]
    assert len(taken) >= (len(cached) if len(layer.spec.parts) == 1 else 0)
    assert bool(taken) == (len(layer.spec.parts) == 1 and bool(cached))


@pytest.mark.parametrize("name", ["mpo-4", "mpo-padded", "ring"])
def test_chunks_and_given_plans(name, monkeypatch):
    layer = tnl.build(MARKET[name], seed=1)
    agrees(layer, (5,))
    plan, taken = layer.plan_for(5, "inference"), walked(monkeypatch)
    layer.use_plan(replace(plan, chunk=2))
    agrees(layer, (5,))
    assert taken
    assert all(again.linear.pinned.chunk == 2 for again in taken)
    layer.use_plan(None)
    agrees(layer, (5,))
    assert taken[-1].linear.pinned is None


def test_a_kept_weight_is_what_a_dense_layer_has(monkeypatch):
    layer = tnl.build("mpo(in=28x28, out=16x16, bond=16, bias=true, pad_in=4, pad_out=6)", seed=1)
    taken = walked(monkeypatch)
    agrees(layer, (200,))
    assert taken[-1].weight.shape == (250, 780)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        results = [layer(torch.ones(200, 780)) for _ in range(3)]
    assert all(y.dtype is torch.bfloat16 for y in results)
    assert torch.equal(results[1], results[2])


def test_no_more_shapes_are_kept_than_are_worth_it(monkeypatch):
    monkeypatch.setattr(bind, "_SHAPES", 3)
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    for batch in range(2, 12):
        agrees(layer, (batch,))
    (kept,) = layer._prepared._kept.values()
    assert 0 < len(kept.bound_calls) <= 3


def test_another_size_is_refused_as_ever():
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    agrees(layer, (4,))
    with torch.no_grad(), pytest.raises(tnl.TNLayersError, match="last dimension"):
        layer(torch.zeros(2, 2 * layer.in_features))


@torch_blames_itself
def test_bonds_that_are_dropped_and_functions_of_the_cores_walk_nowhere(monkeypatch):
    layer = tnl.build(MARKET["mpo-4"], seed=1)
    agrees(layer, (4,))
    x, taken = torch.randn(4, layer.in_features), walked(monkeypatch)
    own = {name: core.detach() for name, core in layer.named_parameters()}

    def of_first(core):
        return torch.func.functional_call(layer, {**own, "core_0": core}, (x,))

    with torch.no_grad():
        y, tangent = torch.func.jvp(of_first, (own["core_0"],), (own["core_0"],))
    right(layer, y, x.numpy())
    right(layer, tangent, x.numpy())  # W is linear in each core
    assert not taken
    tnl.nn.bond_dropout(layer, 0.5)
    with torch.no_grad():
        layer(x)
    assert not taken
