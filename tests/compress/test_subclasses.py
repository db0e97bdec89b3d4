"""Subclasses of torch's layers: with the same forward what their parents are, with one of their own refused."""

from __future__ import annotations

from copy import deepcopy

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


class Plain(nn.Linear):
    pass


class LikeTimm(nn.Linear):
    """As timm has it: the same operations, written again."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_scripting():
            return nn.functional.linear(input, self.weight.to(input.dtype), self.bias.to(input.dtype))
        return nn.functional.linear(input, self.weight, self.bias)


class Initialised(nn.Linear):
    def __init__(self, *args):
        super().__init__(*args)
        self.depth = 3

    def reset_parameters(self):
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)  # else what lay in memory

    def extra_repr(self):
        return "mine"


class PlainConv(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight, bias)


class PlainTable(nn.Embedding):
    pass


class PlainCell(nn.GRUCell):
    pass


class PlainAttention(nn.MultiheadAttention):
    pass


class PlainLSTM(nn.LSTM):
    pass


class ScaledTable(nn.Embedding):
    def forward(self, ids):
        return 4 * super().forward(ids)


class PaddedConv(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(nn.functional.pad(input, (1, 1, 1, 1)), weight, bias)


@pytest.mark.parametrize("make", [Plain, LikeTimm, Initialised])
def test_subclasses_with_the_same_forward_are_their_parents(make):
    torch.manual_seed(0)
    model = nn.Sequential(make(40, 40), nn.ReLU(), nn.Linear(40, 4))
    small = quiet(lambda: tnl.compress(model, error=1e-6, network="lowrank", rules={"2": None})).model
    assert quiet(lambda: tnl.compress(model, ratio=0.5)).report.layers[0].network != "dense"
    x = torch.randn(3, 40)
    torch.testing.assert_close(small(x), model(x), atol=1e-4, rtol=1e-4)
    compressed = quiet(lambda: tnl.compress(model, ratio=0.5)).model
    assert type(compressed[0]) is tnl.nn.TNLinear
    assert getattr(compressed[0], "depth", None) == getattr(model[0], "depth", None)
    layer = quiet(lambda: tnl.nn.TNLinear.from_linear(model[0], error=0))
    torch.testing.assert_close(layer(x), model[0](x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: PlainConv(16, 16, 3), "TNConv2d"),
        (lambda: PlainTable(64, 32), "TNEmbedding"),
        (lambda: PlainCell(32, 32), "TNGRUCell"),
        (lambda: PlainAttention(32, 4), "TNMultiheadAttention"),
        (lambda: PlainLSTM(32, 32), "TNLSTM"),
    ],
)
def test_subclasses_of_every_kind(make, kind, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(make(), nn.Linear(4, 4))
    small = quiet(lambda: tnl.compress(model, ratio=0.4, network="lowrank")).model
    assert type(small[0]).__name__ == kind
    tnl.save(small, tmp_path / "m.safetensors")
    loaded = tnl.load(tmp_path / "m.safetensors", into=deepcopy(model))
    assert type(loaded[0]).__name__ == kind


@pytest.mark.parametrize(
    "make",
    [
        lambda: tnl.nn.TNEmbedding.from_embedding(ScaledTable(16, 8), "lowrank", bond_dim=2),
        lambda: tnl.nn.TNConv2d.from_conv(PaddedConv(8, 8, 3), "lowrank", bond_dim=2),
        lambda: tnl.nn.TNAdapter(ScaledTable(16, 8)),
        lambda: tnl.nn.TNAdapter(PaddedConv(8, 8, 3)),
    ],
)
def test_a_forward_of_their_own_is_refused(make):
    with pytest.raises(tnl.TNLayersError, match="with a forward of its own"):
        make()
