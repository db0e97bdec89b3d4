"""Adapters of any network type in whole models: put in, trained, saved without the model, loaded, merged."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import tnlayers as tnl
from tnlayers.io.container import read


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    ).double()


X = torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
NETWORKS = [
    "lowrank(rank=2)",
    "mpo(cores=2, bond=3)",
    "tucker(cores=1, bond=3)",
    "lowrank(rank=1) + mpo(cores=2, bond=2)",
]


def trained(one, steps=3):
    optimizer = torch.optim.Adam([p for p in one.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        one(X).square().mean().backward()
        optimizer.step()
    return one


@pytest.mark.parametrize("network", NETWORKS)
def test_from_zero_to_the_merged_model(network, tmp_path):
    plain = model()
    plain[3].eval()
    before, wanted = deepcopy(plain.state_dict()), plain(X)
    adapted = tnl.adapt(plain, ["0", "*3"], network, seed=0)
    assert adapted is plain
    assert torch.equal(adapted(X), wanted)
    names = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert names
    assert all(name.startswith(("0.delta.", "3.delta.")) for name in names)
    assert not adapted[3].training
    trained(adapted)
    learned = adapted(X).detach()
    assert (learned - wanted).abs().max() > 1e-2  # teeth
    file = tmp_path / "adapters.safetensors"
    tnl.save(tnl.adapters(adapted), file)
    assert set(read(file)[1]) == names  # nothing of the model itself
    again = tnl.load(file, into=model())
    assert torch.equal(again(X), learned)
    assert {name for name, p in again.named_parameters() if p.requires_grad} == names
    trained(again, 1)
    assert not torch.equal(again(X), learned)
    assert torch.equal(tnl.load(file, into=again)(X), learned)  # in the place of adapters that are there
    merged = tnl.merge_adapters(adapted)
    assert [type(one) for one in merged] == [type(one) for one in model()]
    torch.testing.assert_close(merged(X), learned, rtol=1e-12, atol=1e-12)
    assert merged.state_dict().keys() == before.keys()
    assert torch.equal(merged[5].weight, before["5.weight"])


def test_a_module_at_two_places_has_one_adapter():
    layer = nn.Linear(8, 8)
    twice = nn.Sequential(layer, nn.Tanh(), layer)
    tnl.adapt(twice, "*", "lowrank(rank=2)", seed=0)
    assert twice[0] is twice[2]
    assert len(tnl.adapters(twice).deltas) == 1
    tnl.merge_adapters(twice)
    assert twice[0] is twice[2]


def test_refusals_change_nothing(tmp_path):
    plain = model()
    tied = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 8, bias=False))
    tied[1].weight = tied[0].weight
    for one, targets, network, words in (
        (plain, "head*", "mpo", "matches none of the 3 layers"),
        (plain, ["3", "4"], "mpo", "matches none"),
        (plain, 5, "mpo", "targets=5: give a pattern"),
        (plain, [], "mpo", "targets=.*: give a pattern"),
        (plain, [None], "mpo", "targets=.*: give a pattern"),
        (plain, "*", "mpo(in=4x4, out=4x4, bond=2)", "^0: "),
        (tied, "1", "lowrank(rank=1)", "shares a parameter"),
    ):
        before = repr(one)
        with pytest.raises(tnl.TNLayersError, match=words):
            tnl.adapt(one, targets, network)
        assert repr(one) == before
        assert all(p.requires_grad for p in one.parameters())
    for function in (tnl.adapters, tnl.merge_adapters):
        with pytest.raises(tnl.TNLayersError, match="no adapters"):
            function(plain)
    file = tmp_path / "adapters.safetensors"
    tnl.save(tnl.adapters(tnl.adapt(model(), "[03]", "lowrank(rank=2)")), file)
    other = model()
    other[3] = nn.Linear(128, 8).double()
    moved = model()
    moved[0] = nn.Conv2d(3, 8, 3, padding=0).double()
    shared = model()
    shared.again = nn.Linear(128, 16).double()
    shared.again.weight = shared[3].weight
    for wrong, words in (
        (other, "no change of this Linear.*multiply"),
        (moved, "no change of this Conv2d.*called otherwise"),
        (shared, "3 shares a parameter"),
        (nn.Identity(), "no module of that name"),
        (nn.Sequential(nn.ReLU()), "no change of this ReLU"),
        (model().float(), "float64 and its Conv2d torch.float32"),
    ):
        with pytest.raises(tnl.TNLayersError, match=words):
            tnl.load(file, into=wrong)
        assert all(p.requires_grad for p in wrong.parameters())
        assert not any(isinstance(one, tnl.nn.TNAdapter) for one in wrong.modules())
    with pytest.raises(tnl.TNLayersError, match="Build it with dense"):
        tnl.load(file)


@pytest.mark.filterwarnings("ignore")
def test_models_of_transformers_say_that_they_hold_adapters(tmp_path):
    transformers = pytest.importorskip("transformers")
    from small_pretrained import outputs, pretrained

    import tnlayers.hf  # noqa: F401

    plain = tnl.adapt(pretrained("gpt2"), "*c_attn", "mpo(cores=2, bond=2)", seed=0)
    assert len(tnl.adapters(plain).deltas) == 2
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if ".delta." in name:
                parameter.normal_()
    wanted = outputs(plain, "gpt2")
    plain.save_pretrained(tmp_path)
    with pytest.raises(tnl.TNLayersError, match="no module of that name"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    merged = tnl.merge_adapters(plain)
    assert isinstance(merged.transformer.h[0].attn.c_attn, transformers.Conv1D)
    merged.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(outputs(again, "gpt2"), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_a_file_that_is_said_to_hold_adapters_alone_is_checked(tmp_path):
    import json

    from tnlayers.io.container import write

    whole = nn.Sequential(tnl.nn.MPOLinear(16, 16, cores=2, bond_dim=2), nn.Linear(16, 4))
    file = tmp_path / "m.safetensors"
    tnl.save(whole, file)
    metadata, arrays = read(file)
    header = json.loads(metadata["tnlayers"]) | {"object": "adapters"}
    write(file, json.dumps(header), arrays)
    into = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
    with pytest.raises(tnl.TNLayersError, match="said to hold adapters alone"):
        tnl.load(file, into=into)
    assert type(into[0]) is nn.Linear


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(16, 16), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(torch.tanh(self.left(x)) * self.right(x))))


def blocks():
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block(), Block(), nn.Linear(16, 4)).double()


VECTORS = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
# Kinds of adapters, and what they learn of the twelve targets in three blocks.
KINDS = {
    # 16 = 4x4, 24 = 6x4: factors of 4, 2 and so on with bonds 2 and rank 3.
    "factors": (tnl.nn.Factors(rank=3, bond=2, cores=2), None),
    # Two ends of 16 and 24 features each, a matrix per block, and one for each of four names.
    "metatt": (tnl.nn.MetaTT(rank=3), 2 * (16 + 24) * 3 + (3 + 4) * 9),
    "frozen centre": (tnl.nn.FrozenCentre(network="mpo(cores=3)"), None),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_adapters_begin_as_the_model_learn_are_saved_and_merge(name, tmp_path):
    kind, count = KINDS[name]
    plain = blocks()
    before, wanted = deepcopy(plain.state_dict()), plain(VECTORS)
    adapted = tnl.adapt(plain, ["0.*", "1.*", "2.*"], kind, seed=0)
    torch.testing.assert_close(adapted(VECTORS), wanted, rtol=0, atol=0 if count or name == "factors" else 1e-12)
    learning = [p for p in adapted.parameters() if p.requires_grad]
    assert count in (None, sum(p.numel() for p in learning))
    optimizer = torch.optim.Adam(learning, lr=0.03)
    for _ in range(3):
        optimizer.zero_grad()
        adapted(VECTORS).square().mean().backward()
        optimizer.step()
    learned = adapted(VECTORS).detach()
    assert (learned - wanted).abs().max() > 1e-2
    frozen = {key: value for key, value in adapted.state_dict().items() if key.replace(".base.", ".") in before}
    assert all(torch.equal(value, before[key.replace(".base.", ".")]) for key, value in frozen.items())
    if name == "frozen centre":
        with pytest.raises(tnl.TNLayersError, match="cores of its weights"):
            tnl.adapters(adapted)
        tnl.save(adapted, tmp_path / "model.safetensors")
        again = tnl.load(tmp_path / "model.safetensors", into=blocks())
    else:
        tnl.save(tnl.adapters(adapted), tmp_path / "adapters.safetensors")
        again = tnl.load(tmp_path / "adapters.safetensors", into=blocks())
        assert sum(p.numel() for p in again.parameters() if p.requires_grad) == sum(p.numel() for p in learning)
    torch.testing.assert_close(again(VECTORS), learned, rtol=0, atol=1e-12)
    merged = tnl.merge_adapters(adapted)
    assert {type(module) for module in merged.modules()} == {nn.Sequential, Block, nn.Linear}
    torch.testing.assert_close(merged(VECTORS), learned, rtol=1e-10, atol=1e-12)


def test_layers_and_matrices_share_their_cores_in_metatt():
    model = tnl.adapt(blocks(), ["*.left", "*.right", "*.up"], tnl.nn.MetaTT(rank=3), seed=0)
    first, second = model[0], model[1]
    assert first.left.delta.down is second.right.delta.down is first.up.delta.down
    assert first.left.delta.layer is first.right.delta.layer is not second.left.delta.layer
    assert first.left.delta.matrix is second.left.delta.matrix is not first.right.delta.matrix
    assert first.left.delta.up is second.right.delta.up is not first.up.delta.up  # 16 features, and 24
    with torch.no_grad():
        first.left.delta.up.normal_()
        chain = first.left.delta
        wanted = (chain.down @ chain.layer @ chain.matrix @ chain.up).T
    torch.testing.assert_close(chain.to_dense(), wanted)
    again = deepcopy(model)
    assert again[0].left.delta.down is again[1].right.delta.down


def test_networks_that_are_there_learn_around_their_centre_and_what_does_not_fit_is_refused():
    model = nn.Sequential(tnl.nn.MPOLinear(64, 64, cores=3, bond_dim=4, seed=0), nn.Linear(64, 4))
    tnl.adapt(model, "0", tnl.nn.FrozenCentre())
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.core_0", "0.core_2"]
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3))
    for kind in (tnl.nn.Factors(), tnl.nn.MetaTT()):
        with pytest.raises(tnl.TNLayersError, match="for linear layers"):
            tnl.adapt(convolution, "0", kind)
    for wrong in (lambda: tnl.nn.Factors(rank=0), lambda: tnl.nn.MetaTT(rank=2.5), lambda: tnl.nn.Factors(bond=True)):
        with pytest.raises(tnl.TNLayersError, match="integer"):
            wrong()
    with pytest.raises(tnl.TNLayersError, match="nothing to learn"):
        tnl.adapt(nn.Sequential(nn.Linear(4, 4)), "0", tnl.nn.FrozenCentre(network="mpo(cores=1)"))
    with pytest.raises(tnl.TNLayersError, match="network is needed"):
        tnl.adapt(nn.Sequential(nn.Linear(4, 4)), "0", 3)
