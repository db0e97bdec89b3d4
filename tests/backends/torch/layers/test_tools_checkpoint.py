"""Gradient checkpointing: the same gradients, and what is saved for backward is the input and the cores alone."""

import copy

import pytest
import torch
from layer_arrays import inputs
from specs import MARKET, SUMS

import tnlayers as tnl

ROWS = MARKET | SUMS


def gradients(layer, x):
    layer.zero_grad()
    leaf = x.clone().requires_grad_()
    layer(leaf).square().sum().backward()
    return [leaf.grad, *(parameter.grad for parameter in layer.parameters())]


def kept_bytes(layer, x):
    """Bytes that autograd keeps between forward and backward, beside the input and the parameters."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (x, *layer.parameters())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x)
    assert y.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_the_same(name):
    layer = tnl.build(ROWS[name], seed=5)
    x = torch.from_numpy(inputs(layer.spec, (5,), "float32"))
    expected = gradients(layer, x)
    for found, wanted in zip(gradients(tnl.nn.checkpointed(layer), x), expected, strict=True):
        assert torch.equal(found, wanted)


def test_only_the_input_and_the_cores_are_kept():
    layer = tnl.build("mpo(in=4x7x7x4, out=4x4x4x4, bond=16)", seed=0)
    x = torch.randn(256, 784)
    layer.use_plan(tnl.plan(layer.spec, 1))  # multiplies the batch by every core
    plain = kept_bytes(layer, x)
    assert plain > 4 * x.untyped_storage().nbytes()
    assert kept_bytes(tnl.nn.checkpointed(layer), x) == 0
    assert kept_bytes(tnl.nn.checkpointed(layer, on=False), x) == plain


def test_dropout_is_the_same_when_recomputed():
    layer = tnl.nn.bond_dropout(tnl.build(MARKET["mpo-4"], seed=5), 0.3)
    twin = tnl.nn.checkpointed(copy.deepcopy(layer))
    x = torch.from_numpy(inputs(layer.spec, (5,), "float32"))
    torch.manual_seed(2)
    expected = gradients(layer, x)
    torch.manual_seed(2)
    for found, wanted in zip(gradients(twin, x), expected, strict=True):
        assert torch.equal(found, wanted)


def test_compiled_code_may_be_checkpointed():
    layer = tnl.nn.checkpointed(tnl.build(MARKET["mpo-3"], seed=5))
    x = torch.from_numpy(inputs(layer.spec, (5,), "float32"))
    expected = gradients(layer, x)
    torch._dynamo.reset()
    found = gradients(torch.compile(layer, backend="aot_eager", fullgraph=True), x)
    torch.testing.assert_close(found, expected)
