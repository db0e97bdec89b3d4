"""Recurrent layers over sequences equal torch's own of their contracted weights, whichever way they are run."""

import inspect
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from tnlayers_backends.torch.layers import cores as held
from tnlayers_backends.torch.layers import kind as kinds_file
from tnlayers_backends.torch.layers import sequence
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import tnlayers as tnl
from tnlayers.machine.rates import GPU, Machine

KINDS = {
    "lstm": (tnl.nn.TNLSTM, nn.LSTM, "to_lstm", {}),
    "projected": (tnl.nn.TNLSTM, nn.LSTM, "to_lstm", {"proj_size": 6}),
    "gru": (tnl.nn.TNGRU, nn.GRU, "to_gru", {}),
    "tanh": (tnl.nn.TNRNN, nn.RNN, "to_rnn", {"bias": False}),
    "relu": (tnl.nn.TNRNN, nn.RNN, "to_rnn", {"nonlinearity": "relu"}),
}


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def make(name, **changes):
    kind, _, method, own = KINDS[name]
    settings = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64, "seed": 0}
    layer = kind(6, 8, network="mpo(cores=2, bond=2)", networks={"hh_l1": None}, **(settings | own | changes))
    return layer, getattr(layer, method)()


def flat(result):
    y, state = result
    return [getattr(y, "data", y), *(state if isinstance(state, tuple) else [state])]


def gradients(layer, parameters, x, begin):
    return torch.autograd.grad(sum(part.square().sum() for part in flat(layer(x, begin))), parameters)


@pytest.fixture(params=[True, False], ids=["by-steps", "rebuilt"])
def way(request, monkeypatch):
    monkeypatch.setattr("tnlayers_backends.torch.layers.sequence.TNRecurrent.by_steps", lambda *_: request.param)
    return request.param


@pytest.mark.parametrize("name", KINDS)
def test_equals_torch(name, way):
    layer, dense = make(name)
    assert type(dense) is KINDS[name][1]
    x, states = draw(5, 3, 6), [part.detach() for part in flat(dense(draw(5, 3, 6, seed=1)))[1:]]
    begin = tuple(states) if len(states) > 1 else states[0]
    for hx in (None, begin):
        for ours, theirs in zip(flat(layer(x, hx)), flat(dense(x, hx)), strict=True):
            torch.testing.assert_close(ours, theirs)
    for one, other in zip(flat(layer(x[:, 0])), flat(dense(x[:, 0])), strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        dense.bias_hh_l1.add_(1e-3) if dense.bias else dense.weight_hh_l1.add_(1e-3)  # teeth
    with pytest.raises(AssertionError):
        torch.testing.assert_close(layer(x)[0], dense(x)[0])


@pytest.mark.parametrize("name", ["projected", "gru"])
def test_gradients_reach_the_cores(name, way):
    layer, dense = make(name)
    x = draw(4, 3, 6).requires_grad_()
    ours = gradients(layer, [x, layer.hh_l0.core_0, layer.ih_l1_reverse.core_1], x, None)
    by_weight = gradients(dense, [x, dense.weight_hh_l0, dense.weight_ih_l1_reverse], x, None)
    torch.testing.assert_close(ours[0], by_weight[0])
    for core, part, gradient in (("core_0", "hh_l0", by_weight[1]), ("core_1", "ih_l1_reverse", by_weight[2])):
        own = getattr(layer, part)
        expected = torch.autograd.grad(own.to_dense(), getattr(own, core), gradient)[0]
        torch.testing.assert_close(ours[1 if core == "core_0" else 2], expected)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_batch_first_and_packed(name, way):
    layer, dense = make(name, batch_first=True)
    x = draw(4, 5, 6)
    states = flat(dense(x))[1:]
    begin = tuple(states) if len(states) > 1 else states[0]
    packed = pack_padded_sequence(x, [3, 5, 1, 2], batch_first=True, enforce_sorted=False)
    for given in (x, packed):
        for ours, theirs in zip(flat(layer(given, begin)), flat(dense(given, begin)), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_dropout_between_layers_draws_as_torch(way):
    layer, dense = make("lstm", dropout=0.5, bidirectional=False)
    x, ours = draw(5, 3, 6), []
    for module in (layer, dense):
        torch.manual_seed(3)
        ours.append(module(x)[0])
    torch.testing.assert_close(*ours)
    assert not torch.equal(layer.eval()(x)[0], ours[0])


def test_interface_is_torchs():
    for name, (kind, dense_kind, _, _) in KINDS.items():
        layer, dense = make(name)
        assert {n for n, _ in dense.named_parameters() if hasattr(layer, n)} == {n for n, _ in dense.named_parameters()}
        torch.testing.assert_close(layer.weight_ih_l1_reverse, dense.weight_ih_l1_reverse)
        own = [key for key in inspect.signature(kind).parameters if key not in ("network", "networks", "seed")]
        made = dense_kind(*[8, 8][: len(own)])
        assert all(hasattr(made, key) for key in own if key not in ("device", "dtype"))
        with pytest.raises(AttributeError, match="weight_ih_l9"):
            _ = layer.weight_ih_l9
    layer, _ = make("lstm")
    layer.flatten_parameters()
    assert str(layer).startswith("TNLSTM(\n  6, 8, num_layers=2, bidirectional=True")
    x = draw(4, 2, 6)
    for twin in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])


def test_the_estimate_chooses_the_way():
    """Large weights and few steps: through the cores; small weights and many steps: torch's kernel."""
    large = tnl.nn.TNLSTM(2048, 2048, network="mpo(cores=3, bond=8)", seed=0)
    assert large.by_steps(4, 2)
    assert not tnl.nn.TNLSTM(64, 64, network="mpo(cores=2, bond=8)", seed=0).by_steps(100, 16)


def test_both_ways_are_estimated_with_the_rates_of_the_device(monkeypatch):
    layer, rates = tnl.nn.TNLSTM(64, 64, network="mpo(cores=2, bond=8)", seed=0), []
    monkeypatch.setattr(sequence, "dense_seconds", lambda *sizes: rates.append(sizes[-1]) or 1.0)
    layer.by_steps(8, 4)
    for module in (held, kinds_file):
        monkeypatch.setattr(module, "device_name", lambda device: "cuda imagined")
    layer.to(torch.float32)  # a move
    layer.by_steps(8, 4)
    assert rates == [Machine(), Machine(), GPU, GPU]
    assert layer.ih_l0.plan_for(32).device == "cuda imagined"


def test_refusals():
    layer, _ = make("lstm")
    with pytest.raises(tnl.TNLayersError, match=r"shape \(5, 3, 7\), but this TNLSTM takes sequences of 6 features"):
        layer(draw(5, 3, 7))
    with pytest.raises(tnl.TNLayersError, match=r"\(4, 2, 8\).* begins a batch of 3 with \[\(4, 3, 8\), \(4, 3, 8\)\]"):
        layer(draw(5, 3, 6), (draw(4, 2, 8), draw(4, 2, 8)))
    with pytest.raises(tnl.TNLayersError, match="nonlinearity='gelu' must be 'tanh' or 'relu'"):
        tnl.nn.TNRNN(6, 8, nonlinearity="gelu")


class Reader(nn.Module):
    """Every recurrent module of torch, one after the other."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(24, 32, 2, batch_first=True, bidirectional=True, proj_size=16)
        self.gru = nn.GRU(32, 32, batch_first=True)
        self.rnn = nn.RNN(32, 32, nonlinearity="relu", batch_first=True)
        self.cells = nn.ModuleList([nn.LSTMCell(32, 24), nn.GRUCell(24, 24), nn.RNNCell(24, 16, nonlinearity="relu")])

    def forward(self, x):
        x, _ = self.rnn(self.gru(self.lstm(x)[0])[0])
        lstm, gru, rnn = self.cells
        return rnn(gru(lstm(x[:, -1])[0]))


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    return Reader().double()


def test_compressed_whole(reader, tmp_path):
    x = draw(3, 7, 24)
    result = tnl.compress(reader, ratio=0.5, network=["lowrank", "mpo(cores=2)"], sample=x)
    made = result.model
    total = [sum(p.numel() for p in one.parameters()) for one in (reader, made)]
    assert 0.49 < total[1] / total[0] <= 0.5
    assert result.report.after.parameters == total[1]
    assert isinstance(made.lstm, tnl.nn.TNLSTM)
    rows = {layer.name: layer for layer in result.report.layers}
    assert {"lstm.hr_l1_reverse", "gru.ih_l0", "rnn.hh_l0", "cells.2.hh"} < rows.keys()
    assert rows["lstm.ih_l0"].kind == "LSTM"
    networks = [row for row in rows.values() if row.network != "dense"]
    assert all(row.time is not None and (row.time > 1) == (row.note == "slower than dense") for row in networks)
    assert rows["lstm.ih_l0"].output_error is not None or rows["lstm.ih_l0"].network == "dense"
    dense = deepcopy(reader)
    dense.lstm, dense.gru, dense.rnn = made.lstm.to_lstm(), made.gru.to_gru(), made.rnn.to_rnn()
    for place, cell in enumerate(made.cells):
        dense.cells[place] = cell.to_cell() if hasattr(cell, "to_cell") else cell
    torch.testing.assert_close(made(x), dense(x))
    tnl.save(made, tmp_path / "reader.safetensors")
    again = tnl.load(tmp_path / "reader.safetensors", into=deepcopy(reader))
    assert torch.equal(again(x), made(x))
    assert again.state_dict().keys() == made.state_dict().keys()


def test_a_file_that_does_not_fit_leaves_recurrent_modules_alone(reader, tmp_path):
    made = tnl.compress(reader, ratio=0.5, network="lowrank").model
    tnl.save(made, tmp_path / "reader.safetensors")
    other = deepcopy(reader)
    other.rnn = nn.RNN(32, 33, batch_first=True, dtype=torch.float64)
    with pytest.raises(tnl.TNLayersError, match="rnn"):
        tnl.load(tmp_path / "reader.safetensors", into=other)
    assert type(other.lstm) is nn.LSTM


def test_steps_of_training(reader):
    made = tnl.compress(reader, ratio=0.5, network="lowrank").model
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    x, losses = draw(8, 5, 24), []
    for _ in range(4):
        loss = (made(x) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().item())
    assert losses[-1] < losses[0]
