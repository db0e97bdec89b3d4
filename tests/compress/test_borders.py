"""Where a compressed model meets the rest: files and skeletons, constructors, reports, samples."""

from __future__ import annotations

import json

import pytest
from quiet import quiet

import tnlayers as tnl

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 64, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        x = self.table(ids)
        x = x + self.attention(x, x, x)[0]
        return self.head(self.norm(x.mT).mT)


@pytest.mark.parametrize("rules", [None, {"attention.*": None}, {"table": None}])
def test_a_skeleton_on_meta_gets_its_tensors(tmp_path, rules):
    torch.manual_seed(0)
    model = quiet(lambda: tnl.compress(Block(), ratio=0.8, network="lowrank", rules=rules)).model.eval()
    tnl.save(model, tmp_path / "m.safetensors")
    with torch.device("meta"):
        skeleton = Block()
    loaded = tnl.load(tmp_path / "m.safetensors", into=skeleton).eval()
    assert not any(value.is_meta for value in [*loaded.parameters(), *loaded.buffers()])
    ids = torch.arange(12).reshape(3, 4)
    assert torch.equal(loaded(ids), model(ids))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in model.parameters())


def test_half_a_skeleton_on_meta_gets_its_tensors_and_keeps_its_own(tmp_path):
    model = nn.Sequential(tnl.nn.MPOLinear(16, 16, bond_dim=2, cores=2), nn.Linear(16, 16), nn.Linear(16, 4))
    tnl.save(model, tmp_path / "m.safetensors")
    into = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16, device="meta"), nn.Linear(16, 4))
    own = into[2].weight
    loaded = tnl.load(tmp_path / "m.safetensors", into=into)
    x = torch.randn(3, 16)
    assert torch.equal(loaded(x), model(x))
    assert loaded[2].weight is own


def test_a_skeleton_with_more_on_meta_than_files_hold_is_refused(tmp_path):
    def make(device):
        model = nn.Sequential(nn.Linear(16, 16, device=device))
        model.register_buffer("angles", torch.ones(3, device=device), persistent=False)
        return model

    tnl.save(make("cpu"), tmp_path / "m.safetensors")
    skeleton = make("meta")
    with pytest.raises(tnl.TNLayersError, match="angles of this Sequential is on the meta device"):
        tnl.load(tmp_path / "m.safetensors", into=skeleton)
    assert skeleton[0].weight.is_meta


def test_load_dense_refuses_meta():
    with torch.device("meta"):
        model = nn.Sequential(tnl.nn.MPOLinear(16, 16, bond_dim=2, cores=2))
    with pytest.raises(tnl.TNLayersError, match=r"on the meta device.*to_empty"):
        tnl.load_dense(model, nn.Sequential(nn.Linear(16, 16)).state_dict())


LINEAR = {"TNLinear": tnl.nn.TNLinear, "MPOLinear": tnl.nn.MPOLinear, "TNTensorLinear": tnl.nn.TNTensorLinear}
MADE = {
    **{
        name: lambda kind=kind: (kind.from_linear(nn.Linear(12, 8), "mpo(cores=2)", bond_dim=2), torch.randn(3, 12))
        for name, kind in LINEAR.items()
    },
    "MPOLinear as tucker": lambda: (
        tnl.nn.MPOLinear.from_linear(nn.Linear(12, 8), "tucker(cores=2)", bond_dim=2),
        torch.randn(3, 12),
    ),
    "TNTensorLinear in shapes": lambda: (
        tnl.nn.TNTensorLinear.from_linear(nn.Linear(12, 8), bond_dim=2, in_shape=(3, 4), out_shape=(2, 2, 2)),
        torch.randn(3, 3, 4),
    ),
    "searched": lambda: (tnl.nn.TNLinear.from_linear(nn.Linear(12, 8), bond_dim=2, search=0.05), torch.randn(3, 12)),
    "TNConv1d": lambda: (tnl.nn.TNConv1d.from_conv(nn.Conv1d(4, 8, 3), bond_dim=2), torch.randn(2, 4, 9)),
    "TNConv2d": lambda: (tnl.nn.TNConv2d.from_conv(nn.Conv2d(4, 8, 3), bond_dim=2), torch.randn(2, 4, 9, 9)),
    "TNConv3d": lambda: (tnl.nn.TNConv3d.from_conv(nn.Conv3d(4, 8, 2), bond_dim=2), torch.randn(2, 4, 4, 4, 4)),
    "TNConv2d flat": lambda: (
        tnl.nn.TNConv2d.from_conv(nn.Conv2d(2, 4, 3), "lowrank", bond_dim=2, view="flat", in_size=(5, 5)),
        torch.randn(2, 2, 5, 5),
    ),
    "TNEmbedding": lambda: (
        tnl.nn.TNEmbedding.from_embedding(nn.Embedding(16, 8, padding_idx=0), bond_dim=2),
        torch.arange(16),
    ),
}


@pytest.mark.parametrize("made", MADE)
def test_every_constructor_gives_a_layer_that_runs_and_is_read_back(made, tmp_path):
    torch.manual_seed(0)
    layer, x = quiet(MADE[made])
    tnl.save(layer, tmp_path / "layer.safetensors")
    loaded = tnl.load(tmp_path / "layer.safetensors")
    assert torch.equal(loaded(x), layer(x))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(tnl.TNLayersError, match=r"in_shape=\(3, 5\) has 15 entries; this dense layer has 12"):
        tnl.nn.TNTensorLinear.from_linear(nn.Linear(12, 8), bond_dim=2, in_shape=(3, 5))


def test_a_class_with_an_init_of_its_own_is_refused_by_name():
    class Mine(tnl.nn.TNLinear):
        def __init__(self, size, gain):
            super().__init__(size, size)
            self.gain = gain

    with pytest.raises(tnl.TNLayersError, match="Mine is a class of its own with an __init__"):
        Mine.from_linear(nn.Linear(12, 12), bond_dim=2)


class Bag(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(sizes))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(32, 32)
        self.up = nn.ConvTranspose2d(8, 8, 4)
        self.bag = Bag(100, 32)
        self.both = Bag(4, 8, 8)
        self.experts = nn.Parameter(torch.randn(4, 16, 32))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.scale = nn.Parameter(torch.randn(32))


NAMES = ["bag.weight", "experts", "up.weight", "both.weight", "position"]  # largest first


def test_the_report_names_what_stays(tmp_path):
    report = quiet(lambda: tnl.compress(Mixed(), error=0.5, dry_run=True)).report
    text = str(report)
    assert [text.index(name) for name in NAMES] == sorted(text.index(name) for name in NAMES)
    assert "bag.weight (Bag, 100x32): 3,200" in text
    assert "experts (Mixed, 4x16x32): 2,048" in text
    assert sum(part.parameters for part in report.rest) == report.others.parameters
    assert [part["name"] for part in json.loads(report.to_json())["rest"][:5]] == NAMES
    assert "bag.weight (Bag, 100x32): 3,200" in report.to_html()


def test_the_error_of_a_ratio_out_of_reach_names_what_stays():
    class Own(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.ModuleDict({"mixed": Mixed(), "own": Own(64, 64)})
    with pytest.raises(tnl.TNLayersError) as caught:
        tnl.compress(model, ratio=0.1)
    text = str(caught.value)
    assert text.index("own (Own is a class of its own") < text.index("mixed.bag.weight (Bag, 100x32): 3,200")
    assert text.index("mixed.bag.weight") < text.index("mixed.experts") < text.index("mixed.up.weight")
    assert len(text) < 2000
    with pytest.raises(tnl.TNLayersError, match="Bag, 100x32"):
        tnl.compress(nn.Sequential(Bag(100, 32)), ratio=0.5)


class Broken(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.fc, self.error = nn.Linear(32, 32), error

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return self.fc(x)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyError("labels"), AssertionError("the model's own")])
def test_what_the_model_raises_is_the_samples(error):
    with pytest.raises(tnl.TNLayersError, match="does not run on the sample") as caught:
        tnl.compress(Broken(error), ratio=0.5, sample=torch.randn(4, 32))
    assert caught.value.__cause__ is error


def test_memory_that_ran_out_is_not_the_samples():
    with pytest.raises(MemoryError):
        tnl.compress(Broken(MemoryError()), ratio=0.5, sample=torch.randn(4, 32))


@pytest.mark.parametrize("error", [AssertionError, IndexError, RuntimeError])
def test_what_we_raise_is_not_the_samples(monkeypatch, error):
    from tnlayers_backends.torch.layers.linear_kind import LinearKind

    def fails(*_):
        raise error("ours")

    monkeypatch.setattr(LinearKind, "moment", fails)
    model = Broken(None)
    with pytest.raises(error, match="ours"):
        tnl.compress(model, ratio=0.5, sample=torch.randn(4, 32))
    assert not model.fc._forward_pre_hooks


def test_a_sample_of_the_wrong_width_is_told_as_such():
    with pytest.raises(tnl.TNLayersError, match="does not run on the sample"):
        tnl.compress(Broken(None), ratio=0.5, sample=torch.randn(4, 31))


def test_an_assertion_of_a_layer_in_the_model_is_not_the_samples(monkeypatch):
    model = nn.Sequential(tnl.nn.MPOLinear(32, 32, bond_dim=2), nn.Linear(32, 32))

    def fails(*_):
        raise AssertionError("ours")

    fails = type(fails)(fails.__code__, {"__name__": "tnlayers_backends.torch.layers.linear", **__builtins_of()})
    monkeypatch.setattr(tnl.nn.MPOLinear, "forward", fails)
    with pytest.raises(AssertionError, match="ours"):
        tnl.compress(model, ratio=0.9, sample=torch.randn(4, 32))


def __builtins_of():
    return {"AssertionError": AssertionError}
