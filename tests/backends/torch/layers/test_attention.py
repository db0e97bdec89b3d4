"""Attention, recurrent cells and tensor layers equal torch's own built from their contracted weights."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward, oracle_weight
from torch import nn

import tnlayers as tnl

NETWORKS = {"q": "mpo(cores=2, bond=3)", "k": "lowrank(rank=2)", "v": "tucker(bond=2)", "out": None}


def attention(embed_dim=12, heads=3, **changes):
    keywords = {"networks": NETWORKS, "seed": 0, "batch_first": True, "dtype": torch.float64} | changes
    layer = tnl.nn.TNMultiheadAttention(embed_dim, heads, **keywords)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in layer.named_parameters():  # biases start at zero: give them something to say
        if name.endswith("bias"):
            nn.init.normal_(parameter, generator=generator)
    return layer


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def upper(n, m):
    return torch.ones(n, m, dtype=torch.bool).triu(1)


MASKS = {
    "none": {},
    "causal": {"attn_mask": upper(5, 6)},
    "added": {"attn_mask": draw(5, 6, seed=3)},
    "per-head": {"attn_mask": draw(6, 5, 6, seed=3)},
    "padding": {"key_padding_mask": torch.tensor([[False] * 6, [False, True, True, False, True, False]])},
    "both": {"attn_mask": upper(5, 6), "key_padding_mask": torch.tensor([[False] * 6, [False] * 4 + [True] * 2])},
    "both-added": {"attn_mask": draw(5, 6, seed=3), "key_padding_mask": draw(2, 6, seed=4)},
    "heads": {"average_attn_weights": False},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_equals_attention_of_its_contracted_weights(mask, need_weights):
    layer = attention(kdim=8, vdim=10)
    dense = layer.to_attention()
    inputs = [draw(2, n, size, seed=n).requires_grad_() for n, size in ((5, 12), (6, 8), (6, 10))]
    inputs[2] = draw(2, 6, 10, seed=9).requires_grad_()
    ours, weights = layer(*inputs, need_weights=need_weights, **MASKS[mask])
    theirs, their_weights = dense(*inputs, need_weights=need_weights, **MASKS[mask])
    torch.testing.assert_close(ours, theirs)
    assert (weights is None) == (their_weights is None)
    if weights is not None:
        torch.testing.assert_close(weights, their_weights)
    grad = draw(*ours.shape, seed=5)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, grad), torch.autograd.grad(theirs, inputs, grad), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_contracted_weights_are_the_oracles():
    layer = attention(networks=None, network="mpo(cores=2, bond=3)")
    for name, theirs in zip("qkv", layer.to_attention().in_proj_weight.chunk(3), strict=True):
        own = getattr(layer, f"{name}_proj")
        cores = [core.detach().numpy() for core in own.cores.values()]
        assert_close(theirs, oracle_weight(own.spec, cores), dtype="float64")


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_layouts_and_unbatched(batch_first, bias):
    layer = attention(batch_first=batch_first, bias=bias)
    dense = layer.to_attention()
    assert (layer.in_proj_bias is None) == (not bias)
    for shape in ((4, 5, 12), (5, 12)):
        x = draw(*shape)
        for one, other in zip(layer(x, x, x), dense(x, x, x), strict=True):
            torch.testing.assert_close(one, other)
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    x = draw(5, 5, 12)
    kwargs = {"attn_mask": causal, "is_causal": True, "need_weights": False}
    torch.testing.assert_close(layer(x, x, x, **kwargs)[0], dense(x, x, x, **kwargs)[0])


def test_dropout_only_in_training():
    layer = attention(dropout=0.5)
    x = draw(2, 5, 12)
    torch.manual_seed(0)
    assert not torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])
    layer.eval()
    torch.testing.assert_close(layer(x, x, x)[0], layer.to_attention()(x, x, x)[0])


def test_arguments_and_protocol():
    theirs = list(inspect.signature(nn.MultiheadAttention).parameters)
    assert list(inspect.signature(tnl.nn.TNMultiheadAttention).parameters)[: len(theirs)] == theirs
    forward = list(inspect.signature(nn.MultiheadAttention.forward).parameters)
    assert list(inspect.signature(tnl.nn.TNMultiheadAttention.forward).parameters) == forward
    layer = attention()
    x = draw(2, 5, 12)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, x, x)[0], layer(x, x, x)[0])
    assert isinstance(layer.out_proj, nn.Linear)
    assert layer.q_proj.spec.network == "mpo"


def test_drawn_as_torch_draws():
    squares, bound = [], (3 * 2 / (4 * 12)) ** 0.5
    for seed in range(32):
        layer = tnl.nn.TNMultiheadAttention(12, 3, network="mpo(cores=2, bond=4)", seed=seed)
        assert not layer.in_proj_bias.any()
        squares.append(layer.in_proj_weight.square().mean().item())
    assert abs(np.mean(squares) - bound**2 / 3) < 4 * np.std(squares) / 32**0.5
    assert nn.MultiheadAttention(12, 3).in_proj_weight.abs().max() <= bound


def test_compiles():
    layer = attention()
    x = draw(2, 5, 12)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, x, x, need_weights=False)[0], layer(x, x, x, need_weights=False)[0])


# Torch's own layers around ours: they read `.weight` and `in_proj_weight` on their fast path, in eval mode without
# gradients.

SWAPS = {
    "linear1": ("linear1",),
    "feed-forward": ("linear1", "linear2"),
    "self_attn": ("self_attn",),
    "all": ("self_attn", "linear1", "linear2"),
    "out_proj": ("out_proj",),
}


def encoder(swap):
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True, dtype=torch.float64)
    twin = copy.deepcopy(block)
    if "linear1" in swap:
        block.linear1 = tnl.nn.TNLinear(12, 24, dtype=torch.float64, network="mpo(cores=2, bond=3)", seed=1)
        twin.linear1 = block.linear1.to_linear()
    if "linear2" in swap:
        block.linear2 = tnl.nn.TNLinear(24, 12, dtype=torch.float64, network="cp(cores=2, rank=4)", seed=2)
        twin.linear2 = block.linear2.to_linear()
    if "self_attn" in swap:
        block.self_attn = attention(12, 2)
        twin.self_attn = block.self_attn.to_attention()
    if "out_proj" in swap:
        block.self_attn.out_proj = tnl.nn.TNLinear(12, 12, dtype=torch.float64, network="mpo(cores=2, bond=3)", seed=3)
        twin.self_attn.out_proj.load_state_dict(block.self_attn.out_proj.to_linear().state_dict())
    return block, twin


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("swap", SWAPS)
def test_transformer_layers_in_train_and_eval(swap, padded):
    block, twin = encoder(SWAPS[swap])
    x = draw(3, 5, 12)
    mask = torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 2 + [True] * 3]) if padded else None
    for training in (True, False):
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                ours = block.train(training)(x, src_key_padding_mask=mask)
                theirs = twin.train(training)(x, src_key_padding_mask=mask)
            torch.testing.assert_close(ours, theirs)
    block.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_stacked_encoder_and_decoder():
    block, _ = encoder(SWAPS["all"])
    stack = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    x = draw(3, 5, 12)
    ours = stack.eval()(x)
    with torch.no_grad():
        torch.testing.assert_close(stack(x), ours)
    decoder = nn.TransformerDecoderLayer(12, 2, 24, dropout=0.0, batch_first=True, dtype=torch.float64)
    twin = copy.deepcopy(decoder)
    decoder.multihead_attn = attention(12, 2)
    twin.multihead_attn = decoder.multihead_attn.to_attention()
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for training in (True, False):
        pair = (model.train(training)(x, ours, tgt_mask=causal, tgt_is_causal=True) for model in (decoder, twin))
        torch.testing.assert_close(*pair)


# Recurrent cells.

CELLS = {
    "lstm": (tnl.nn.TNLSTMCell, nn.LSTMCell),
    "gru": (tnl.nn.TNGRUCell, nn.GRUCell),
    "rnn": (tnl.nn.TNRNNCell, nn.RNNCell),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, bias):
    kind, dense_kind = CELLS[name]
    theirs = list(inspect.signature(dense_kind).parameters)
    assert list(inspect.signature(kind).parameters)[: len(theirs)] == theirs
    networks = {"ih": "mpo(cores=2, bond=3)", "hh": "lowrank(rank=3)"}
    cell = kind(6, 8, bias, dtype=torch.float64, networks=networks, seed=0)
    dense = cell.to_cell()
    assert type(dense) is dense_kind
    for shape in ((4, 6), (6,)):
        ours = theirs = None
        x = draw(*shape).requires_grad_()
        for _ in range(3):
            ours, theirs = cell(x, ours), dense(x, theirs)
        for one, other in zip(ours if name == "lstm" else [ours], theirs if name == "lstm" else [theirs], strict=True):
            torch.testing.assert_close(one, other)
            grads = (torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in (one, other))
            torch.testing.assert_close(*grads)
    twin = pickle.loads(pickle.dumps(cell))
    torch.testing.assert_close(twin.weight_hh, cell.hh.weight)
    with pytest.raises(tnl.TNLayersError, match=r"shape \(2, 3, 6\), but this cell takes \(batch, 6\)"):
        cell(draw(2, 3, 6))


@pytest.mark.parametrize("network", ["mpo(cores=2, bond=4)", None])
def test_cells_are_drawn_as_torch_draws(network):
    squares, bound = [], 8**-0.5
    for seed in range(32):
        cell = tnl.nn.TNLSTMCell(6, 8, network=network, seed=seed)
        assert 0.5 * bound < cell.bias_ih.abs().max() <= bound
        squares.append(cell.weight_ih.square().mean().item())
    assert abs(np.mean(squares) - bound**2 / 3) < 4 * np.std(squares) / 32**0.5
    assert torch.equal(
        tnl.nn.TNLSTMCell(6, 8, network=network, seed=3).weight_hh,
        tnl.nn.TNLSTMCell(6, 8, network=network, seed=3).weight_hh,
    )


# Tensors in and out.


@pytest.mark.parametrize(
    ("in_shape", "out_shape", "network"),
    [
        ((4, 3), (2, 5), "mpo(bond=3)"),
        ((2, 3, 4), (5,), "mpo(bond=3)"),
        ((3, 4), (), "tucker(bond=2)"),
        ((2, 3), (4, 2, 2), "cp(rank=3)"),
        ((4, 6), (3, 5), "mpo(cores=3, bond=2)"),
        ((4, 6), (3, 4), "mpo(in=2x12, out=4x3, bond=3)"),
    ],
)
def test_tensor_layers_keep_the_axes(in_shape, out_shape, network):
    layer = tnl.nn.TNTensorLinear(in_shape, out_shape, dtype=torch.float64, network=network, seed=0)
    cores, bias = [core.detach().numpy() for core in layer.cores.values()], layer.bias.detach().numpy()
    for leading in ((), (4,), (2, 0), (2, 3)):
        x = draw(*leading, *in_shape)
        flat = x.reshape(*leading, layer.in_features).numpy()
        y = layer(x)
        assert y.shape == (*leading, *out_shape)
        expected = oracle_forward(layer.spec, cores, flat, bias)
        assert_close(y.reshape(*leading, layer.out_features), expected, dtype="float64")
    assert f"in_shape={in_shape}, out_shape={out_shape}" in str(layer)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


REFUSED = {
    "heads": (lambda: tnl.nn.TNMultiheadAttention(12, 5), "num_heads=5 must divide embed_dim=12"),
    "bias_kv": (lambda: tnl.nn.TNMultiheadAttention(12, 3, add_bias_kv=True), "add_bias_kv=True"),
    "zero": (lambda: tnl.nn.TNMultiheadAttention(12, 3, add_zero_attn=True), "add_zero_attn=True"),
    "projection": (
        lambda: attention(networks={"query": "mpo"}),
        "networks has query, but .* are q, k, v, out",
    ),
    "causal": (lambda: attention()(*[draw(1, 2, 12)] * 3, is_causal=True), "pass the causal attn_mask too"),
    "cell": (lambda: tnl.nn.TNGRUCell(6, 8, networks={"hidden": "mpo"}), "networks has hidden, .* here are ih, hh"),
    "axes": (lambda: tnl.nn.TNTensorLinear((3, 4), (2,))(draw(5, 4, 3)), r"shape \(5, 4, 3\).* takes \(\.\.\., 3, 4\)"),
    "order": (lambda: tnl.nn.TNTensorLinear((3, 4), (2,))(draw(4)), r"shape \(4,\)"),
    "modes": (lambda: tnl.nn.TNTensorLinear((3, 4), (2,), network="mpo(in=3x5, out=2x1)"), "in=3x5 multiplies to 15"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    ask, message = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=message):
        ask()
