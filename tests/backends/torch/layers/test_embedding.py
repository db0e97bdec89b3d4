"""`tnl.nn.TNEmbedding`: rows of every network type equal those of its contracted table, and what nn.Embedding does."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from oracle import assert_close, oracle_forward, oracle_gradients, oracle_weight
from specs import MARKET, SUMS
from torch import nn

import tnlayers as tnl

ROWS = {name: text for name, text in {**MARKET, **SUMS}.items() if "bias" not in text}
FLOAT32 = ("mpo-padded", "monarch", "blockdiag", "cp", "sum-alike", "tucker", "mera-3")


def embedding(text, **changes):
    spec = tnl.spec(text)
    keywords = {"network": spec, "seed": 3} | changes
    return tnl.nn.TNEmbedding(spec.in_features, spec.out_features, **keywords)


def arrays(layer):
    return [core.detach().double().numpy() for core in layer.cores.values()]


def ids_for(layer, shape=(3, 4), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(layer.num_embeddings, size=shape))


def one_hot(layer, ids):
    return np.eye(layer.num_embeddings)[ids.numpy()]


@pytest.mark.parametrize(("name", "dtype"), [(n, "float64") for n in ROWS] + [(n, "float32") for n in FLOAT32])
def test_rows_and_gradients(name, dtype):
    layer = embedding(ROWS[name], dtype=getattr(torch, dtype))
    ids = ids_for(layer)
    x = one_hot(layer, ids)
    rows = layer(ids)
    assert_close(rows, oracle_forward(layer.spec, arrays(layer), x), dtype=dtype)
    grad = np.random.default_rng(1).standard_normal(tuple(rows.shape)).astype(dtype)
    rows.backward(torch.from_numpy(grad))
    expected = oracle_gradients(layer.spec, arrays(layer), x, grad)[1:-1]
    for core, gradient in zip(layer.cores.values(), expected, strict=True):
        assert_close(core.grad, gradient, dtype=dtype)
    table = oracle_weight(layer.spec, arrays(layer))
    assert_close(layer.weight.mT, table, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 0, 3), (2, 3, 2)])
@pytest.mark.parametrize("unique", [False, True])
def test_shapes_of_ids(shape, dtype, unique):
    layer = embedding(MARKET["mpo-padded"], unique=unique)
    ids = ids_for(layer, shape).to(dtype)
    rows = layer(ids)
    assert rows.shape == (*shape, layer.embedding_dim)
    assert_close(rows, oracle_forward(layer.spec, arrays(layer), one_hot(layer, ids)), dtype="float32")


def test_the_table_is_never_built():
    layer = tnl.nn.TNEmbedding(50_000, 512, network="mpo(cores=3, bond=16)", seed=0)
    ids = torch.arange(256)
    (plan,) = layer.plan_for(256)
    assert plan.cost.result < 4 * 256 * 512 * 16  # bytes: no result is larger than a few slices per id
    assert plan.cost.flops < 256 * 512 * 16 * 40
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        sizes = []
        layer(ids)
    assert max(sizes) < 50_000 * 512 / 20


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("padding_idx", [0, 5, -2])
def test_padding_row_is_zero_and_gives_no_gradient(padding_idx, unique):
    layer = embedding(MARKET["mpo-3"], padding_idx=padding_idx, unique=unique, dtype=torch.float64)
    dense = layer.to_embedding()
    assert layer.padding_idx == dense.padding_idx == padding_idx % 24
    ids = torch.tensor([[1, layer.padding_idx], [layer.padding_idx, 23]])
    torch.testing.assert_close(layer(ids), dense(ids))
    assert not layer(ids)[0, 1].any()
    assert not layer.weight[layer.padding_idx].any()
    layer(ids[:1, 1:]).sum().backward()
    assert not any(core.grad.any() for core in layer.cores.values())


def test_arguments_stand_as_in_nn_embedding():
    theirs = [name for name in inspect.signature(nn.Embedding).parameters if not name.startswith("_")]
    assert list(inspect.signature(tnl.nn.TNEmbedding).parameters)[: len(theirs)] == theirs


def test_initialised_to_unit_variance():
    samples = []
    for seed in range(64):
        layer = tnl.nn.TNEmbedding(60, 24, network="mpo(cores=2, bond=6)", seed=seed)
        samples.append(layer.weight.detach().square().mean().item())
    assert abs(np.mean(samples) - 1) < 4 * np.std(samples) / 8


def test_module_protocol():
    layer = embedding(MARKET["mpo-3"], padding_idx=2)
    ids = ids_for(layer)
    assert list(layer.state_dict()) == ["core_0", "core_1", "core_2"]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(ids), layer(ids))
    assert "24, 12, padding_idx=2, bias=False, network=mpo(" in str(layer)
    assert layer.to(torch.bfloat16)(ids).dtype is torch.bfloat16


@pytest.mark.parametrize("name", ["mpo-padded", "blockdiag"])
def test_compiles_exports_and_maps(name):
    layer = embedding(MARKET[name], padding_idx=1, unique=True)
    ids = ids_for(layer, (4, 3))
    expected = layer(ids)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(ids), expected)
    exported = torch.export.export(layer, (ids,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
    larger = ids_for(layer, (7, 3), seed=2)
    torch.testing.assert_close(exported(larger), layer(larger))


def test_training_tools_reach_embeddings():
    layer = embedding(MARKET["mpo-3"], dtype=torch.float64)
    ids = ids_for(layer)
    before = layer(ids)
    torch.testing.assert_close(layer.norm2(), layer.weight.square().sum())
    torch.testing.assert_close(tnl.nn.checkpointed(layer)(ids), before)
    tnl.nn.bond_dropout(layer, 0.5)
    torch.manual_seed(0)
    assert not torch.allclose(layer(ids), before)
    torch.testing.assert_close(layer.eval()(ids), before)


@pytest.mark.parametrize("name", ["mpo-3", "mpo-padded", "monarch-padded", "blockdiag", "cp-padded", "sum-padded"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_a_tied_decoder_scores_all_rows(name, padding_idx):
    text = {**MARKET, **SUMS}[name].replace("bias=true, ", "").replace(", bias=true", "")
    layer = embedding(text, dtype=torch.float64, padding_idx=padding_idx)
    h = torch.randn(2, 3, layer.embedding_dim, dtype=torch.float64, requires_grad=True)
    scores, dense = layer.decode(h), nn.functional.linear(h, layer.weight)
    torch.testing.assert_close(scores, dense)
    wanted = (h, *layer.cores.values())
    for one, other in zip(
        torch.autograd.grad(scores.square().sum(), wanted),
        torch.autograd.grad(dense.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_decoder_follows_pruning():
    layer = embedding(MARKET["mpo-3"], dtype=torch.float64)
    with torch.no_grad():
        layer.core_0[..., 1:] = 0  # two of three bond values carry nothing
    layer.prune_(0)
    h = torch.randn(4, 12, dtype=torch.float64)
    torch.testing.assert_close(layer.decode(h), h @ layer.weight.T)


def test_the_decoder_builds_no_table_and_compiles():
    layer = tnl.nn.TNEmbedding(4096, 64, network="mpo(cores=3, bond=4)", seed=0)
    plan = layer._decoder.plan_for(8)
    assert plan.cost.flops < 0.6 * plan.dense.flops
    assert plan.cost.result < 4 * 4096 * 64  # bytes of the table
    torch._dynamo.reset()
    h = torch.randn(8, 64)
    torch.testing.assert_close(torch.compile(layer.decode, fullgraph=True, backend="aot_eager")(h), layer.decode(h))


REFUSED = {
    "high": (lambda: embedding(MARKET["mpo-3"])(torch.tensor([3, 24])), "Id 24 is out of range: .* 24 rows, 0 to 23"),
    "low": (lambda: embedding(MARKET["mpo-3"])(torch.tensor([-1])), "Id -1 is out of range"),
    "padded": (lambda: embedding(MARKET["mpo-padded"])(torch.tensor([97])), "Id 97 is out of range: .* 97 rows"),
    "dtype": (lambda: embedding(MARKET["mpo-3"])(torch.zeros(2)), r"got torch.float32 of shape \(2,\)"),
    "max_norm": (lambda: tnl.nn.TNEmbedding(24, 12, max_norm=1.0), "max_norm=1.0 is not offered"),
    "sparse": (lambda: tnl.nn.TNEmbedding(24, 12, sparse=True), "sparse=True is not offered"),
    "freq": (lambda: tnl.nn.TNEmbedding(24, 12, scale_grad_by_freq=True), "scale_grad_by_freq=True is not offered"),
    "padding": (lambda: tnl.nn.TNEmbedding(24, 12, padding_idx=24), "padding_idx=24 is no id: the table has 24 rows"),
    "bias": (lambda: tnl.nn.TNEmbedding(12, 10, network="mpo(in=3x4, out=2x5, bias=true)"), "has a bias"),
    "decode": (lambda: embedding(MARKET["mpo-3"]).decode(torch.zeros(2, 24)), r"last dimension is 24 .* 12 features"),
    "sizes": (lambda: tnl.nn.TNEmbedding(13, 10, network="mpo(in=3x4, out=2x5)"), "in=3x4 multiplies to 12"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    ask, message = REFUSED[name]
    with pytest.raises(tnl.TNLayersError, match=message):
        ask()


def test_the_comparison_has_teeth():
    layer = embedding(MARKET["mpo-3"])
    ids = ids_for(layer)
    rows = layer(ids)
    with torch.no_grad():
        layer.core_1.mul_(1.001)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(rows, oracle_forward(layer.spec, arrays(layer), one_hot(layer, ids)), dtype="float32")
