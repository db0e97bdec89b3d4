"""One layer of each class that users hold, with the inputs of a call; layer kinds are those of `layer_rows`."""

import torch
from layer_rows import ROWS, gaussian
from torch import nn

import tnlayers as tnl

X = gaussian(3, 7, 8)
MORE = {
    "attention": (lambda: tnl.nn.TNMultiheadAttention(8, 2, batch_first=True), (X, X, X)),
    "lstm": (lambda: tnl.nn.TNLSTM(8, 6, batch_first=True), (X,)),
    "gru": (lambda: tnl.nn.TNGRU(8, 6), (X,)),
    "rnn": (lambda: tnl.nn.TNRNN(8, 6), (X,)),
    "lstm_cell": (lambda: tnl.nn.TNLSTMCell(8, 6), (X[0],)),
    "gru_cell": (lambda: tnl.nn.TNGRUCell(8, 6), (X[0],)),
    "rnn_cell": (lambda: tnl.nn.TNRNNCell(8, 6), (X[0],)),
    "adapter": (lambda: tnl.nn.TNAdapter(nn.Linear(8, 6), "lowrank(rank=2)"), (X,)),
}
EVERY = {name: (row.layer, row.inputs) for name, row in ROWS.items()} | MORE


class One(nn.Module):
    """A model that is one layer, for tracers."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, a):
        return self.layer(a)


class Two(One):
    def forward(self, a, b):
        return self.layer(a, b)


class Three(One):
    def forward(self, a, b, c):
        return self.layer(a, b, c)


def made(name):
    """The layer, and the arguments of a call."""
    make, inputs = EVERY[name]
    torch.manual_seed(0)
    return make(), inputs


def around(layer, inputs):
    """A model that calls the layer."""
    return (One, Two, Three)[len(inputs) - 1](layer)


def first(outputs):
    """The tensor that counts among what a layer gives."""
    while isinstance(outputs, tuple):
        outputs = outputs[0]
    return outputs
