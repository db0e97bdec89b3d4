"""Cores and dense weights in 8 and 4 bits: how far numbers move, what keeps the codes, and what is refused."""

from __future__ import annotations

import os
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kind_rows import KINDS, inputs, leaves
from oracle import assert_close, oracle_forward, oracle_weight
from tnlayers_backends.torch.layers.codes import Codes
from tnlayers_backends.torch.layers.quantised import all_codes, value_of
from torch import nn

import tnlayers as tnl

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
HALF_A_DIGIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def run(module, *arrays):
    with torch.no_grad():
        return leaves(module(*(torch.from_numpy(array) for array in arrays)))


def three():
    """A network, a dense layer and what stays as it is."""
    layers = (tnl.nn.MPOLinear(64, 64, cores=3, bond_dim=6, seed=0), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 10))
    return nn.Sequential(*layers).eval()


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([8, 4]),
    st.integers(1, 8),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.floats(-6, 4),
    st.integers(0, 2**31),
)
def test_every_entry_comes_back_within_half_of_its_scale(dtype, bits, half_group, shape, power, seed):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** (power + rng.uniform(-2, 0, shape)) * rng.standard_normal(shape)
    tensor = torch.from_numpy(spread).to(dtype)
    codes = Codes.of(tensor, bits, 2 * half_group)
    back = codes.eval()()
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    scales = codes.scales.double().repeat_interleave(codes.group)[: tensor.numel()].reshape(tensor.shape)
    rounding = HALF_A_DIGIT[dtype] * back.double().abs() + (2.0**-25 if dtype is torch.float16 else 0)
    assert bool(((back.double() - tensor.double()).abs() <= scales / 2 * (1 + 1e-12) + rounding).all())
    assert codes.short_scales().element_size() == 2
    assert torch.equal(Codes.of(back, bits, 2 * half_group)().isfinite(), torch.ones_like(back, dtype=torch.bool))


def test_numbers_that_are_codes_come_back_exactly():
    tensor = 0.25 * torch.tensor([[127.0, -127, 3, 0], [-64, 127, 1, 5]])
    assert torch.equal(Codes.of(tensor, 8, 4)(), tensor)
    assert not torch.equal(Codes.of(tensor, 4, 4)(), tensor)  # teeth
    assert torch.equal(Codes.of(torch.zeros(3, 5), 4, 2)(), torch.zeros(3, 5))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("network", ["mpo(cores=3, bond=4)", "ring(cores=3, bond=2)", "mpo(cores=2) + lowrank(rank=2)"])
def test_the_weight_moves_by_no_more_than_its_cores_allow(network, bits):
    """|W' - W| <= T(|c| + d) - T(|c|), entry by entry: T is multilinear, and d is half the scale of each entry."""
    layer = tnl.nn.TNLinear(24, 20, network=network, seed=0, dtype=torch.float64)
    small = tnl.quantise(layer, bits, group=8).model
    cores = [core.detach().numpy() for core in layer.cores.values()]
    moved = [core.detach().numpy() for core in small.cores.values()]
    halves = []
    for codes, core in zip(all_codes(small).values(), cores, strict=True):
        scales = codes.scales.detach().numpy().repeat(codes.group)[: core.size].reshape(core.shape)
        halves.append(scales / 2)
    wide = [np.abs(core) + half for core, half in zip(cores, halves, strict=True)]
    bound = oracle_weight(layer.spec, wide).value - oracle_weight(layer.spec, [np.abs(core) for core in cores]).value
    change = np.abs(oracle_weight(layer.spec, moved).value - oracle_weight(layer.spec, cores).value)
    assert (change <= bound * (1 + 1e-9) + 1e-15).all()
    assert change.max() > bound.max() / 100  # the bound is no phantasy
    assert_close(small.to_dense().detach().numpy(), oracle_weight(layer.spec, moved), dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 24))
    assert_close(run(small, x)[0], oracle_forward(layer.spec, moved, x, layer.bias.detach().numpy()), dtype="float64")


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_computes_with_what_its_codes_stand_for_and_files_keep_them(kind, bits, tmp_path):
    make, shape = KINDS[kind]
    arrays = inputs(shape)
    model = tnl.quantise(make().eval(), bits, group=16).model
    found = run(model, *arrays)
    plain = run(tnl.dequantise(deepcopy(model)), *arrays)
    before = run(make().eval(), *arrays)
    tnl.save(model, tmp_path / "model.safetensors")
    single = tnl.io.header(tmp_path / "model.safetensors").object == "layer"
    again = tnl.load(tmp_path / "model.safetensors", into=None if single else make().eval())
    assert all_codes(again).keys() == all_codes(model).keys()
    assert all(torch.equal(one.codes, all_codes(model)[name].codes) for name, one in all_codes(again).items())
    elsewhere = tnl.load(tmp_path / "model.safetensors", backend="numpy")(*arrays)
    for one, other in ((plain, 1e-13), (run(again, *arrays), 0), (leaves(elsewhere), 1e-13)):
        for a, b in zip(one, found, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=other)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(before, found, strict=True))  # teeth


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_backends_get_the_same_numbers_to_the_bit(dtype, tmp_path):
    layer = tnl.quantise(tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=4, seed=0, dtype=dtype), 4, group=6).model
    tnl.save(layer, tmp_path / "layer.safetensors")
    names = ["numpy"] if dtype is torch.float64 else ["numpy", "jax"]  # jax has none unless it is switched on
    for name in names if dtype is not torch.bfloat16 else ["jax"]:
        pytest.importorskip(name)
        other = tnl.load(tmp_path / "layer.safetensors", backend=name)
        for own, its in zip(layer.cores.values(), other.cores.values(), strict=True):
            assert np.array_equal(np.asarray(its, dtype=np.float64), own.detach().double().numpy())


def test_the_report_measures_and_counts_what_the_file_takes(tmp_path):
    model = three()
    for bits, per in ((8, 8.5), (4, 4.5)):
        found = tnl.quantise(model, bits)
        layer = found.layers[0]
        before, after = (one[0].to_dense().detach().double() for one in (model, found.model))
        np.testing.assert_allclose(layer.error, float((after - before).norm() / before.norm()), rtol=1e-5)
        assert per <= found.bits_per_parameter < per + 0.2
        tnl.save(found.model, tmp_path / f"{bits}.safetensors")
        header = tnl.io.header(tmp_path / f"{bits}.safetensors")
        size = os.path.getsize(tmp_path / f"{bits}.safetensors")
        assert 0 < size - found.after < 4096 + 2 * len(header.to_json())
        assert f"{found.after:,} bytes" in str(found)
        assert [one.name for one in found.layers] == ["0", "3"]
    assert model[0]._parameters.keys() == {"core_0", "core_1", "core_2", "bias"}  # a copy was changed


def test_targets_and_mixed_bits():
    found = tnl.quantise(three(), 4, targets="0")
    both = tnl.quantise(found.model, 8, inplace=True)
    assert both.model is found.model
    assert {name: one.bits for name, one in all_codes(both.model).items()} == {
        **dict.fromkeys(("0.core_0", "0.core_1", "0.core_2"), 4),
        "3.weight": 8,
    }
    with pytest.raises(tnl.TNLayersError, match="matches none"):
        tnl.quantise(three(), targets="conv")


def test_tied_weights_stay_one(tmp_path):
    def tied():
        model = nn.ModuleDict({"table": nn.Embedding(12, 8), "head": nn.Linear(8, 12, bias=False)})
        model.head.weight = model.table.weight
        return model

    model = tnl.quantise(tied()).model
    codes = all_codes(model)
    assert codes["table.weight"] is codes["head.weight"]
    copy = deepcopy(model)
    assert all_codes(copy)["table.weight"] is all_codes(copy)["head.weight"]
    tnl.save(model, tmp_path / "m.safetensors")
    again = tnl.load(tmp_path / "m.safetensors", into=tied())
    assert all_codes(again)["table.weight"] is all_codes(again)["head.weight"]
    plain = tnl.dequantise(again)
    assert list(plain.state_dict()) == list(tied().state_dict())
    assert plain.head.weight is plain.table.weight
    left = tnl.quantise(tied(), targets="head")
    assert not all_codes(left.model)
    assert "that of another module" in str(left)


def test_learning_is_refused_and_adapters_learn_beside_it():
    model = tnl.quantise(three()).model
    x = torch.ones(3, 64)
    model(x).sum().backward()  # in evaluation mode nobody trains
    model.train()
    with pytest.raises(tnl.TNLayersError, match=r"no gradient.*dequantise"):
        model(x)
    adapted = tnl.adapt(model.train(), "3", "lowrank(rank=2)", seed=0)
    learned = dict(tnl.adapters(adapted).named_parameters())
    step = torch.optim.SGD(learned.values(), lr=0.1)
    for _ in range(2):
        adapted(x).square().sum().backward()
        step.step()
    assert all(one.abs().max() > 0 for one in learned.values())
    wanted = adapted.eval()(x)
    merged = tnl.merge_adapters(adapted)
    assert type(merged[3]) is nn.Linear
    torch.testing.assert_close(merged(x), wanted)


def test_what_would_be_lost_is_refused():
    model = tnl.quantise(three()).model
    network, dense = model[0], model[3]
    for change in (
        lambda: network.reset_parameters(),
        lambda: dense.reset_parameters(),
        lambda: network.prune_(0.1),
        lambda: network.round_(bond_dim=2),
        lambda: network.grow_(9),
        lambda: network.canonicalise_(),
        lambda: network.balance_(),
        lambda: network.freeze(),
        lambda: setattr(dense, "weight", nn.Parameter(torch.zeros(10, 64))),
        lambda: setattr(network, "core_0", torch.zeros(1)),
        lambda: tnl.nn.TNLinear.from_linear(dense, error=0.1),
    ):
        with pytest.raises(tnl.TNLayersError, match=r"dequantise|codes of few bits"):
            change()
    with pytest.raises(tnl.TNLayersError, match="finite"):
        tnl.quantise(nn.Linear(2, 2).requires_grad_(False).apply(lambda one: one.weight.fill_(torch.inf)))
    for wrong in ({"bits": 5}, {"bits": True}, {"group": 3}, {"group": 0}, {"targets": 3}):
        with pytest.raises(tnl.TNLayersError):
            tnl.quantise(three(), **wrong)
    with pytest.raises(tnl.TNLayersError, match="has no weight in codes"):
        tnl.dequantise(three())


@pytest.mark.parametrize("bits", [8, 4])
def test_copies_pickles_moves_export_and_compiled_code(bits):
    model, x = tnl.quantise(three(), bits).model, torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = model(x)
        assert torch.equal(deepcopy(model)(x), y)
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), y)
        exported = torch.export.export(model, (x,))
        close = {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(exported.module()(x), y, **close)
        assert {v.dtype for k, v in exported.state_dict.items() if k.endswith(".codes")} == {
            torch.int8 if bits == 8 else torch.uint8
        }
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), y, **close)
        other = three()
        with pytest.raises(RuntimeError, match="Missing key"):
            other.load_state_dict(model.state_dict())
        twin = tnl.quantise(other, bits).model
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(x), y)
        small = deepcopy(model).half()
        assert small(x.half()).dtype == torch.float16
        exact = all_codes(model)["0.core_0"]
        assert torch.equal(value_of(all_codes(small)["0.core_0"]), value_of(exact).half())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.usefixtures("onnx_table")
@pytest.mark.parametrize("bits", [8, 4])
def test_onnx_files_compute_the_same(bits, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, x = tnl.quantise(three(), bits).model, torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    torch.onnx.export(model, (x,), tmp_path / "m.onnx", dynamo=True, verbose=False)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, run(model, x.numpy())[0], rtol=1e-4, atol=1e-5)


def test_forged_codes_are_refused(tmp_path):
    from tnlayers.io import codes
    from tnlayers.io.container import Stored

    def said(entry, shape=(2, 4), kind="int8", scales=2):
        data = Stored(dtype=kind, shape=shape, data=bytes(shape[0] * shape[1]))
        marks = Stored(dtype="float32", shape=(scales,), data=bytes(4 * scales))
        return codes.unpack_codes(tmp_path, {"w": entry}, {"w.codes": data, "w.scales": marks})

    assert said([8, "float32", [7]])[0]["w"].shape == (7,)
    assert said([4, "float32", [15]], kind="uint8")[0]["w"].shape == (15,)
    for wrong in (
        {"entry": [8, "float32", [9]]},
        {"entry": [8, "float32", [4]]},
        {"entry": [8, "float32", [0]]},
        {"entry": [8, "float32", [True]]},
        {"entry": [8, "complex64", [7]]},
        {"entry": [5, "float32", [7]]},
        {"entry": [4, "float32", [7]]},
        {"entry": "codes"},
        {"entry": [8, "float32", [7]], "scales": 3},
        {"entry": [8, "float32", [10**30]]},
    ):
        with pytest.raises(tnl.TNLayersError, match="Nothing was loaded"):
            said(**wrong)


def test_torchao_rounds_the_dense_layers_beside_networks():
    torchao = pytest.importorskip("torchao.quantization")
    model = three()
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    assert type(model[3].weight).__module__.startswith("torchao")
    assert isinstance(model[0].core_0, nn.Parameter)
    found = tnl.quantise(model)  # the network; what torchao holds is left alone
    assert [one.note != "" for one in found.layers] == [False, True]
    assert found.model(torch.ones(2, 64)).shape == (2, 10)


def test_the_kinds_of_layers_that_can_be_codes_are_those_of_the_table():
    assert not all_codes(nn.LSTM(4, 4))
    found = tnl.quantise(nn.Sequential(nn.LSTM(4, 4), nn.Linear(4, 4)))
    assert [one.kind for one in found.layers] == ["Linear"]
