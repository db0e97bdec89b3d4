"""Every kind of torch layer is saved and loaded alike: a kind is a name and keywords in the header."""

import json
from functools import partial

import jax
import numpy as np
import pytest
import torch
from jax_cases import x64
from layer_rows import ROWS
from tnlayers_backends.torch.layers.module import TNModule
from tnlayers_backends.torch.modules.storage import KINDS
from torch import nn
from torch.nn.utils import prune

import tnlayers as tnl
from tnlayers.io.container import read, write

LAYERS = {
    "1d": lambda: tnl.nn.TNConv1d(4, 6, 5, padding="same", network="mpo(bond=3)", seed=0),
    "2d": lambda: tnl.nn.TNConv2d(4, 8, 3, stride=2, padding=1, groups=2, network="mpo(cores=2, bond=3)", seed=0),
    "3d": lambda: tnl.nn.TNConv3d(2, 4, 2, bias=False, network="mpo(cores=2, bond=2)", dtype=torch.float64, seed=0),
    "sum": lambda: tnl.nn.TNConv2d(4, 8, 3, network="mpo(cores=2, bond=2) + cp(rank=2)", seed=0),
    "reflect": lambda: tnl.nn.TNConv2d(4, 4, (3, 1), dilation=2, padding=1, padding_mode="reflect", seed=0),
    "flat": lambda: tnl.nn.TNConv2d(2, 3, 3, view="flat", in_size=(4, 4), network="mpo(cores=2, bond=2)", seed=0),
}
LAYERS |= {
    "table": lambda: tnl.nn.TNEmbedding(12, 10, padding_idx=-1, network="mpo(cores=2, bond=3)", seed=0),
    "tensors": lambda: tnl.nn.TNTensorLinear((3, 4), (2, 5), network="mpo(bond=3)", seed=0),
    "regression": lambda: tnl.nn.TNTensorLinear((3, 4), (), network="mpo(bond=3)", seed=0),
}
LAYERS |= {name: partial(row.layer, "mpo(cores=2)", bond_dim=2) for name, row in ROWS.items() if name != "linear"}
SIZES = {"1d": (4, 9), "2d": (4, 7, 6), "3d": (2, 4, 4, 4), "sum": (4, 7, 6), "reflect": (4, 8, 5), "flat": (2, 4, 4)}
SIZES |= {"tensors": (3, 4), "regression": (3, 4)}


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back_bit_for_bit(tmp_path, name):
    layer = LAYERS[name]()
    tnl.save(layer, tmp_path / "layer")
    twin = tnl.load(tmp_path / "layer")
    assert type(twin) is type(layer)
    assert str(twin) == str(layer)
    assert all(torch.equal(twin.state_dict()[key], value) for key, value in layer.state_dict().items())
    x = torch.randn(2, *SIZES[name], dtype=layer.weight.dtype) if name in SIZES else torch.tensor([[3, 11], [0, 3]])
    given = ROWS[name].inputs if name in ROWS else (x,)
    assert torch.equal(twin(*given), layer(*given))
    tnl.save(twin, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "layer").read_bytes()


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_torch_layer_gives_the_same_on_numpy_and_jax(tmp_path, name):
    layer = LAYERS[name]().double()
    tnl.save(layer, tmp_path / "layer")
    x = torch.randn(2, *SIZES[name]).double() if name in SIZES else torch.tensor([[3, 11], [0, 3]])
    given = [one.double() if one.is_floating_point() else one for one in (ROWS[name].inputs if name in ROWS else (x,))]
    expected, dense = layer(*given).detach().numpy(), layer.to_dense().detach().numpy()
    spoilt = tnl.load(tmp_path / "layer", backend="numpy")
    np.testing.assert_allclose(spoilt(*(one.numpy() for one in given)), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(spoilt.to_dense(), dense, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(spoilt.norm2(), (dense**2).sum(), rtol=1e-10)
    with x64(True):
        on_jax = tnl.load(tmp_path / "layer", backend="jax")
        y = jax.jit(lambda layer, *given: layer(*given))(on_jax, *(one.numpy() for one in given))
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
        for twin in (on_jax, spoilt):
            tnl.save(twin, tmp_path / "again")
            assert torch.equal(tnl.load(tmp_path / "again", backend="torch")(*given), layer(*given))
    spoilt.cores[next(iter(spoilt.cores))] *= 1 + 1e-9
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(spoilt(*(one.numpy() for one in given)), expected, rtol=1e-10, atol=1e-11)


def test_every_layer_of_torch_is_of_some_kind():
    found = {one for one in vars(tnl.nn).values() if isinstance(one, type) and issubclass(one, TNModule)}
    assert found == {one for kind in KINDS.values() for one in kind.classes}
    assert {type(make()) for make in LAYERS.values()} == found - {tnl.nn.TNLinear, tnl.nn.MPOLinear}


def dense(**changes):
    return nn.Sequential(nn.Conv2d(**{"in_channels": 4, "out_channels": 8, "kernel_size": 3} | changes), nn.ReLU())


def test_a_convolution_goes_where_a_dense_one_of_its_kind_stands(tmp_path):
    model = dense()
    model[0] = tnl.nn.TNConv2d(4, 8, 3, network="mpo(cores=2, bond=2)", seed=0)
    tnl.save(model, tmp_path / "model")
    x = torch.randn(2, 4, 7, 6)
    assert torch.equal(tnl.load(tmp_path / "model", into=dense())(x), model(x))
    for changes in ({"stride": 2}, {"padding": 1}, {"padding": "same"}, {"out_channels": 6}, {"dilation": 2}):
        with pytest.raises(tnl.TNLayersError, match=r"has in_channels, .*but the module there has"):
            tnl.load(tmp_path / "model", into=dense(**changes))
    with pytest.raises(tnl.TNLayersError, match=r"takes the place of a Conv2d, but there is a Linear"):
        tnl.load(tmp_path / "model", into=nn.Sequential(nn.Linear(36, 8), nn.ReLU()))


class Words(nn.Module):
    def __init__(self, network=None):
        super().__init__()
        self.embed = tnl.nn.TNEmbedding(12, 8, padding_idx=0, network=network) if network else nn.Embedding(12, 8, 0)
        self.attend = tnl.nn.TNMultiheadAttention(8, 2, batch_first=True, network=network or "mpo(cores=2)")
        self.cell = tnl.nn.TNLSTMCell(8, 4, network=network or "mpo(cores=2)")

    def forward(self, ids):
        x = self.embed(ids)
        x, _ = self.attend(x, x, x)
        return self.cell(x[:, -1])[0]


@pytest.mark.filterwarnings("ignore::tnlayers.TNLayersWarning")
def test_layers_inside_attention_and_cells(tmp_path):
    model = Words("mpo(cores=2, bond=2)").eval()
    tnl.save(model, tmp_path / "model")
    twin = tnl.load(tmp_path / "model", into=Words().eval())
    ids = torch.tensor([[1, 0, 5], [11, 3, 3]])
    assert torch.equal(twin(ids), model(ids))
    assert str(twin) == str(model)
    other = Words()
    other.embed = nn.Embedding(12, 8, 1)
    with pytest.raises(
        tnl.TNLayersError, match=r"padding_idx, max_norm = \(12, 8, 0, None\), but .* \(12, 8, 1, None\)"
    ):
        tnl.load(tmp_path / "model", into=other)


VALUES = [None, True, -1, 0, 2, 2**70, 1.5, "same", "x", [], [1], [0, 0], [2, 2], [-1, 3], [2**70, 1], [[1]], {"a": 1}]


@pytest.mark.parametrize("name", ["2d", "flat", "table", "tensors", "bilinear", "embedding_bag"])
def test_keywords_that_lie_are_refused(tmp_path, name):
    """Whatever stands in the header: a layer of exactly these arrays, or a refusal."""
    path = tmp_path / "layer"
    tnl.save(LAYERS[name](), path)
    metadata, arrays = read(path)
    names = list(json.loads(metadata["tnlayers"])["layers"][0]["keywords"])
    refused = 0
    for key in names:
        for value in VALUES:
            header = json.loads(metadata["tnlayers"])
            header["layers"][0]["keywords"][key] = value
            write(path, json.dumps(header), arrays)
            try:
                tnl.load(path)
            except tnl.TNLayersError:
                refused += 1
    assert refused > 5 * len(names)


def test_a_pruned_layer_is_refused(tmp_path):
    layer = tnl.nn.TNLinear(12, 10, network="mpo(cores=2)")
    prune.l1_unstructured(layer, "core_0", 0.5)
    with pytest.raises(tnl.TNLayersError, match=r"core_0_orig, .* Remove the pruning first"):
        tnl.save(layer, tmp_path / "layer")
    prune.remove(layer, "core_0")
    tnl.save(layer, tmp_path / "layer")
    assert torch.equal(tnl.load(tmp_path / "layer").core_0, layer.core_0)
