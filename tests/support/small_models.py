"""Small dense models to compress, and comparisons of their states."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


class Conv1D(nn.Module):
    """A stand-in for Hugging Face's: a linear layer with its weight (in_features, out_features)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).reshape(*x.shape[:-1], self.nf)


class Net(nn.Module):
    """One layer of every kind."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(200, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.turned = Conv1D(64, 32)
        self.conv = nn.Conv1d(64, 64, 3, padding=1)
        self.cell = nn.GRUCell(64, 32)
        self.norm = nn.BatchNorm1d(64)
        self.head = nn.Linear(32, 200, bias=False)
        self.lstm = nn.LSTM(32, 8)

    def forward(self, ids):
        x = self.table(ids)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.norm(self.conv(self.turned(x).mT)).mT
        state = torch.zeros(len(ids), 32, dtype=x.dtype)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(300, 320), nn.ReLU(), nn.Linear(320, 128), nn.ReLU(), nn.Linear(128, 10))


def count(model):
    return sum(p.numel() for p in model.parameters())


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
