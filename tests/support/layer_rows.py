"""One row for each kind of layer: its dense module, and the arguments of a call."""

import torch
from tnlayers_backends.torch.layers.kinds import KINDS
from torch import nn


def gaussian(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class Row:
    """One kind: the dense module, the layer at full bond of it, and the arguments of a call."""

    def __init__(self, kind, dense, *inputs, **own):
        self.kind, self._dense, self.inputs, self.own = kind, dense, inputs, own

    def dense(self):
        torch.manual_seed(0)
        return self._dense()

    def layer(self, network="mpo(cores=2)", **asked):
        asked = asked or {"error": 0}
        return KINDS[self.kind].from_dense(self.dense(), network, **asked, **self.own)

    @property
    def model(self):
        """The dense module in a model that calls it with all of its arguments."""
        return Called(self.dense())


class Called(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, a, b=None, c=None):
        return self.layer(*(x for x in (a, b, c) if x is not None)).flatten(1)


IDS = torch.tensor([[1, 3, 0, 3], [23, 3, 7, 0], [5, 5, 2, 9], [11, 17, 4, 8]])
BAGS = IDS.flatten(), torch.tensor([0, 3, 3, 10]), IDS.flatten() / 9
ROWS = {
    "linear": Row("linear", lambda: nn.Linear(12, 10), gaussian(40, 12)),
    "tensor": Row("tensor_linear", lambda: nn.Linear(12, 10), gaussian(40, 12), in_shape=(12,), out_shape=(10,)),
    "conv1d": Row("conv1d", lambda: nn.Conv1d(6, 8, 3, padding=1), gaussian(8, 6, 9)),
    "conv2d": Row("conv2d", lambda: nn.Conv2d(6, 8, 3, groups=2), gaussian(6, 6, 7, 6)),
    "conv3d": Row("conv3d", lambda: nn.Conv3d(4, 6, 2, stride=2), gaussian(6, 4, 4, 5, 4)),
    "embedding": Row("embedding", lambda: nn.Embedding(24, 10, padding_idx=0), IDS),
    "embedding_bag": Row("embedding_bag", lambda: nn.EmbeddingBag(24, 10, mode="sum"), *BAGS),
    "bilinear": Row("bilinear", lambda: nn.Bilinear(6, 8, 10), gaussian(60, 6), gaussian(60, 8)),
}
