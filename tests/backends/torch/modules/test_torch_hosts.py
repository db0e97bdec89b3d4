"""Modules of others that hold a tensor-network layer and read its `weight`: transformers, attention, quantisation."""

import copy

import pytest
import torch
from torch import nn
from torch_cases import built, vectors

import tnlayers as tnl

# torch's quantisation and nested tensors announce their own future on every use.
quantisation = pytest.mark.filterwarnings(
    "ignore:torch.ao.quantization is deprecated:DeprecationWarning",
    "ignore:torch.quantize_per_tensor, torch.quantize_per_channel:UserWarning",
)
nested_tensors = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")


def square(in_features, out_features, seed):
    return tnl.nn.TNLinear(in_features, out_features, network="mpo(cores=2, bond=2)", seed=seed)


def twins(model, names):
    """The model with tensor-network layers at `names`, and a copy with the same layers made dense."""
    dense = copy.deepcopy(model)
    for seed, name in enumerate(names):
        old = model.get_submodule(name)
        layer = square(old.in_features, old.out_features, seed)
        model.set_submodule(name, layer)
        dense.set_submodule(name, layer.to_linear())
    return model, dense


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_transformer_encoder_layer(training, grad):
    """In eval mode without gradients torch's fast path reads `linear1.weight` in place of calling the layer."""
    torch.manual_seed(0)
    host = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, dense = (m.train(training) for m in twins(host, ["linear1", "linear2"]))
    x = torch.randn(3, 5, 8)
    with torch.set_grad_enabled(grad):
        ours, theirs = model(x), dense(x)
    torch.testing.assert_close(ours, theirs)
    if grad:
        ours.square().sum().backward()
        theirs.square().sum().backward()
        torch.testing.assert_close(model.linear1.bias.grad, dense.linear1.bias.grad)
        assert all(core.grad.abs().max() > 0 for core in model.linear2.cores.values())


@nested_tensors
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_transformer_encoder_with_padded_sequences(training, grad):
    """In eval mode without gradients torch packs the sequences into one nested tensor."""
    torch.manual_seed(0)
    host = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2)
    names = [f"layers.{k}.{name}" for k in range(2) for name in ("linear1", "linear2")]
    model, dense = (m.train(training) for m in twins(host, names))
    x, padding = torch.randn(3, 5, 8), torch.arange(5).expand(3, 5) >= torch.tensor([[5], [3], [4]])
    with torch.set_grad_enabled(grad):
        ours, theirs = (m(x, src_key_padding_mask=padding)[~padding] for m in (model, dense))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_reads_the_weight(training, need_weights):
    """`out_proj` is never called: attention takes its weight, and the gradient goes through it to the cores."""
    torch.manual_seed(0)
    model, dense = (m.train(training) for m in twins(nn.MultiheadAttention(8, 2, batch_first=True), ["out_proj"]))
    x = torch.randn(3, 5, 8)
    ours, theirs = (m(x, x, x, need_weights=need_weights)[0] for m in (model, dense))
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    weight = model.out_proj.weight
    expected = torch.autograd.grad(weight, list(model.out_proj.cores.values()), dense.out_proj.weight.grad)
    for core, gradient in zip(model.out_proj.cores.values(), expected, strict=True):
        torch.testing.assert_close(core.grad, gradient)
    with torch.no_grad():
        torch.testing.assert_close(model(x, x, x, need_weights=need_weights)[0], theirs.detach())


def test_the_weight_is_fresh_and_no_parameter():
    layer = built("mpo-bias")
    before = layer.weight
    assert before.requires_grad
    with torch.no_grad():
        layer.core_0.mul_(2.0)
    torch.testing.assert_close(layer.weight, 2 * before)
    assert "weight" not in dict(layer.named_parameters())
    assert "weight" not in layer.state_dict()
    with pytest.raises((AttributeError, KeyError, TypeError)):
        layer.weight = torch.zeros(12, 12)


@quantisation
def test_dynamic_quantisation_leaves_the_layer_and_takes_its_dense_form():
    """torch's dynamic int8 replaces `nn.Linear` alone: ours stays as it is, and int8 for it means to make it dense.

    Integer cores are not offered: the products of a chain would have to be rescaled at every core.
    """
    layer = built("mpo-bias")
    model = nn.Sequential(layer, nn.Linear(layer.out_features, 4))
    x = vectors(layer, 64)
    half = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert type(half[0]) is type(layer)
    assert type(half[1]) is torch.ao.nn.quantized.dynamic.Linear
    torch.testing.assert_close(half[0](x), layer(x))
    full = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer.to_linear()), {nn.Linear}, dtype=torch.qint8)
    assert type(full[0]) is torch.ao.nn.quantized.dynamic.Linear
    # Both operands are rounded to 8 bits: each of the in_features products is off by two half steps of its range.
    y, weight = layer(x), layer.to_dense()
    step = weight.abs().max() / 127 * x.abs().max() + (x.max() - x.min()) / 255 * weight.abs().max()
    allowed = step * layer.in_features**0.5
    assert 0 < (full(x) - y).abs().max() < allowed < y.abs().max()
